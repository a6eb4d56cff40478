"""The choice of a variant by the providers of a session, and the session for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxgpu.discovery import providers
from onnxgpu.errors import Fail
from onnxgpu.metadata import ModelMetadata
from onnxgpu.model_package.contents import Contents, read, variants_of
from onnxgpu.model_package.schema import parsed
from onnxgpu.options import SessionOptions
from onnxgpu.options.fields import of_type
from onnxgpu.selection import requested_by

if TYPE_CHECKING:
    from onnxgpu.session import InferenceSession

CONSUMER = "ort"
PATH_OPTIONS = ("session.model_external_initializers_file_folder_path", "ep.context_file_path")
"""Session options of a variant whose values are paths in the package."""

FORBIDDEN_OPTIONS = (
    "session.debug_layout_transformation",
    "session.collect_node_memory_stats_to_file",
    "session.enable_profiling",
    "session.optimized_model_filepath",
)
"""Options that write files; a package may not set them."""

_NO_METADATA = ModelMetadata({}, "", "", "", "", "", 0)


class ModelPackageOptions:
    """The providers by which a variant is chosen.

    Args:
        sess_options: their providers, in order; without any, those available that need not be named.

    Raises:
        TypeError: it is no `SessionOptions`.
    """

    def __init__(self, sess_options: SessionOptions) -> None:
        options: SessionOptions = of_type(SessionOptions, "ModelPackageOptions(): sess_options", sess_options)
        requested = requested_by(options, lambda: _NO_METADATA)
        known = providers()
        listed = [name for name, provider in known.items() if provider.listed and not provider.last_resort]
        names = listed if requested is None else [item if isinstance(item, str) else item[0] for item in requested]
        self._usable = [name for name in names if name in known and known[name].unavailable() is None]

    @property
    def provider_names(self) -> Sequence[str]:
        """Those that are available here, in order of preference."""
        return tuple(self._usable)


class ModelPackageContext:
    """A package, opened to choose from.

    Raises:
        RuntimeError: it cannot be opened; says why.
    """

    def __init__(self, package_root: str) -> None:
        try:
            self._contents = read(package_root)
            self._infos = {names: _OrtInfo(self._contents, *names) for names in variants_of(self._contents)}
        except (OSError, ValueError, RuntimeError) as error:
            raise RuntimeError(f"Failed to open model package at '{package_root}': {error}") from error

    def get_schema_version(self) -> int:
        """The major version of the package's format."""
        return self._contents.version[0]

    def get_component_count(self) -> int:
        """How many components there are."""
        return len(self._contents.components)

    def get_component_names(self) -> list[str]:
        """The names of the components."""
        return list(self._contents.components)

    def get_variant_count(self, component_name: str) -> int:
        """How many variants a component has."""
        return len(self.get_variant_names(component_name))

    def get_variant_names(self, component_name: str) -> list[str]:
        """The names of a component's variants.

        Raises:
            RuntimeError: there is no such component.
        """
        if component_name not in self._contents.components:
            raise RuntimeError(f"Component model not found: {component_name}")
        return list(self._contents.components[component_name].body["variants"])

    def get_variant_ep_name(self, component_name: str, variant_name: str) -> str | None:
        """The provider a variant is for, if it says so.

        Raises:
            RuntimeError: there is no such component or variant.
        """
        if variant_name not in self.get_variant_names(component_name):
            raise RuntimeError(f"Variant not found: {variant_name} (component {component_name})")
        name: str | None = self._contents.variant(component_name, variant_name).get("ep")
        return name

    def resolve_string_ref(self, string_ref: str, base_dir: str | None = None, must_exist: bool = False) -> str:
        """See `ModelPackage.resolve_string_ref`."""
        return self._contents.resolver.reference(string_ref, self._contents.assets(), base_dir, must_exist=must_exist)

    def select_component(self, component_name: str, options: ModelPackageOptions) -> ModelPackageComponentContext:
        """The first variant, in the manifest's order, for the first provider that has one.

        Raises:
            RuntimeError: there is no such component, or no variant for any of the providers.
        """
        for provider in options.provider_names:
            for variant in self.get_variant_names(component_name):
                body = self._contents.variant(component_name, variant)
                if body.get("ep") == provider and _has_device(provider, body.get("device")):
                    return ModelPackageComponentContext(component_name, variant, provider, self._infos[component_name, variant])
        wanted = ", ".join(options.provider_names)
        names = self.get_variant_names(component_name)
        variants = ", ".join(f"{name} for {self.get_variant_ep_name(component_name, name)}" for name in names)
        raise RuntimeError(
            f"No suitable model variant found for the configured execution providers. Component {component_name} has {variants or 'none'}; "
            f"the providers here are {wanted or 'none'}"
        )


class ModelPackageComponentContext:
    """A variant that was chosen; see `ModelPackageContext.select_component`.

    Args:
        component: its component.
        variant: its name.
        provider: the provider it is for.
        info: what the package says of running it.
    """

    def __init__(self, component: str, variant: str, provider: str, info: _OrtInfo) -> None:
        self._component, self._variant, self._provider, self._info = component, variant, provider, info

    def get_selected_variant_name(self) -> str:
        """The name of the variant."""
        return self._variant

    def get_selected_variant_folder_path(self) -> str:
        """Its directory.

        Raises:
            Fail: it has none.
        """
        if self._info.folder is None:
            raise Fail(f"Selected variant '{self._variant}' has no directory. Component: {self._component}")
        return self._info.folder

    def create_session(self, sess_options: SessionOptions | None = None) -> InferenceSession:
        """A session of the variant.

        Args:
            sess_options: None: options and provider options as the package says; otherwise these, to which only paths that they
                leave out are added.

        Raises:
            Fail: the package does not say which file the model is.
            OnnxGpuError: see `InferenceSession`.
        """
        from onnxgpu.session import InferenceSession

        if self._info.model_file is None:
            raise Fail(f'Selected variant \'{self._variant}\' has no executor_info["ort"]["model_file"]. Component: {self._component}')
        options = SessionOptions() if sess_options is None else sess_options
        for key, value in self._info.session_options.items():
            if sess_options is None or (key in PATH_OPTIONS and key not in options.config_entries):
                options.add_session_config_entry(key, value)
        if sess_options is not None:
            return InferenceSession(self._info.model_file, options)
        return InferenceSession(self._info.model_file, options, providers=[(self._provider, self._info.provider_options)])


class _OrtInfo:
    """`executor_info["ort"]` of a variant, its paths resolved."""

    def __init__(self, contents: Contents, component: str, variant: str) -> None:
        self.folder = contents.variant_folder(component, variant)
        text = contents.executor_info(component, variant, CONSUMER)
        where = f"variant '{variant}': executor_info '{CONSUMER}'"
        info = {} if text is None else parsed(text, where)
        self.session_options = _texts(info, "session_options", where)
        self.provider_options = _texts(info, "provider_options", where)
        for key in FORBIDDEN_OPTIONS:
            if key in self.session_options:
                raise ValueError(f"{where}: session option '{key}' writes files, and a package may not set it.")

        def resolved(value: str) -> str:
            return contents.resolver.reference(value, contents.assets(), self.folder)

        for key in PATH_OPTIONS:
            if key in self.session_options:
                self.session_options[key] = resolved(self.session_options[key])
        file = info.get("model_file")
        if file is not None and not isinstance(file, str):
            raise ValueError(f"{where}: 'model_file' must be a string.")
        self.model_file = None if file is None else resolved(file)


def _texts(info: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    value = info.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{where}: '{key}' must be an object of strings.")
    return dict(value)


def _has_device(provider: str, device: str | None) -> bool:
    return device is None or device == ("cpu" if providers()[provider].memory is None else "gpu")
