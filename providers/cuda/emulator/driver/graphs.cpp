// Capture and CUDA graphs, with CUDA's own prohibitions. A node knows what it comes after; in lazy mode a launch takes, of the
// nodes that may run, the one that was captured last, so that an order which the capture does not state is not kept.
#include "driver.h"

#include <algorithm>

namespace emulated {

namespace {

std::set<Capture*> captures;

std::vector<size_t> order_of(const Graph& graph) {
    std::vector<size_t> order, missing(graph.nodes.size());
    std::vector<std::vector<size_t>> followers(graph.nodes.size());
    std::set<size_t> ready;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
        missing[i] = graph.nodes[i].after.size();
        for (size_t before : graph.nodes[i].after) followers[before].push_back(i);
        if (!missing[i]) ready.insert(i);
    }
    while (!ready.empty()) {
        const size_t next = settings.lazy ? *ready.rbegin() : *ready.begin();
        ready.erase(next);
        order.push_back(next);
        for (size_t follower : followers[next])
            if (!--missing[follower]) ready.insert(follower);
    }
    return order;
}

bool is_joined(const Capture& capture) {
    std::set<size_t> reached;
    std::vector<size_t> open = capture.frontier.at(capture.origin);
    while (!open.empty()) {
        const size_t node = open.back();
        open.pop_back();
        if (!reached.insert(node).second) continue;
        const auto& after = capture.graph.nodes[node].after;
        open.insert(open.end(), after.begin(), after.end());
    }
    return reached.size() == capture.graph.nodes.size();
}

}  // namespace

void add_node(Stream* stream, Work work) {
    auto& frontier = stream->capture->frontier[stream];
    auto& nodes = stream->capture->graph.nodes;
    nodes.push_back({std::move(work), frontier});
    frontier = {nodes.size() - 1};
}

int join_capture(Stream* stream, const Event& event) {
    if (stream->capture && stream->capture != event.capture)
        return refuse(cudaErrorStreamCaptureMerge, "a capturing stream waits for an event of another capture");
    if (!captures.count(event.capture)) return refuse(cudaErrorCapturedEvent, "a stream waits for an event of a capture that has ended");
    stream->capture = event.capture;
    auto& frontier = event.capture->frontier[stream];
    for (size_t node : event.captured_nodes)
        if (std::find(frontier.begin(), frontier.end(), node) == frontier.end()) frontier.push_back(node);
    return 0;
}

void end_membership(const Capture& capture) {
    for (auto& [member, _] : capture.frontier) {
        member->capture = nullptr;
        member->capture_broken = false;
    }
}

void abandon_captures() {
    for (Capture* capture : captures) {
        end_membership(*capture);
        delete capture;
    }
    captures.clear();
}

bool any_capture() { return !captures.empty(); }

bool forbids_unsafe_calls() {
    return std::any_of(captures.begin(), captures.end(), [](Capture* capture) {
        return capture->mode == cudaStreamCaptureModeGlobal ||
               (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
    });
}

bool is_origin_of_blocking_capture(int device) {
    return std::any_of(captures.begin(), captures.end(), [=](Capture* capture) {
        return capture->origin->device == device && capture->origin->blocks_with_default();
    });
}

}  // namespace emulated

using namespace emulated;

#define RT(code) static_cast<cudaError_t>(code)

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    if (!stream) return RT(refuse(cudaErrorInvalidResourceHandle, "the handle is no stream"));
    if (stream->is_default) return RT(refuse(cudaErrorStreamCaptureUnsupported, "capture on the default stream"));
    if (stream->capture) return RT(refuse(cudaErrorIllegalState, "the stream is capturing already"));
    auto* capture = new Capture{stream, mode, {}, {{stream, {}}}};
    captures.insert(capture);
    stream->capture = capture;
    stream->capture_broken = false;
    return RT(0);
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    *graph = nullptr;
    if (!stream || !stream->capture) return RT(refuse(cudaErrorIllegalState, "the stream is not capturing"));
    Capture* capture = stream->capture;
    if (capture->origin != stream) return RT(refuse(cudaErrorStreamCaptureUnmatched, "the capture was begun on another stream"));
    bool broken = false;
    for (auto& [member, _] : capture->frontier) broken |= member->capture_broken;
    end_membership(*capture);
    const bool joined = is_joined(*capture);
    captures.erase(capture);
    const std::unique_ptr<Capture> owner(capture);
    if (broken) return RT(cudaErrorStreamCaptureInvalidated);
    if (!joined) return RT(refuse(cudaErrorStreamCaptureUnjoined, "a stream that took part in the capture was not joined with its origin"));
    *graph = reinterpret_cast<cudaGraph_t>(new Graph(std::move(capture->graph)));
    return RT(0);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    if (!stream) return RT(refuse(cudaErrorInvalidResourceHandle, "the handle is no stream"));
    *status = !stream->capture          ? cudaStreamCaptureStatusNone
              : stream->capture_broken ? cudaStreamCaptureStatusInvalidated
                                       : cudaStreamCaptureStatusActive;
    return RT(0);
}

#undef cudaGraphInstantiate
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
    return RT(0);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
    API_LOCK;
    ++counters.graph_launches;
    const auto graph = std::make_shared<Graph>(*reinterpret_cast<Graph*>(executable));
    const auto run = [graph] {
        for (size_t node : order_of(*graph))
            if (const int error = graph->nodes[node].work()) return error;
        return 0;
    };
    return RT(submit(stream_of(handle), run, "a graph launch"));
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return RT(0); }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<Graph*>(graph);
    return RT(0);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    API_LOCK;
    delete reinterpret_cast<Graph*>(executable);
    return RT(0);
}

}  // extern "C"
