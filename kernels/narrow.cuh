// Element types of a byte and less, one element a byte as `ml_dtypes` has them: 8- and 4-bit floats, 4- and 2-bit integers.
//
//   SmallFloat<exponent, mantissa, bias, special>   decode: exactly; encode: half to even
//   PowerOfTwo                                      float8e8m0: byte e is 2^(e - 127), 255 is NaN
//   SmallInteger<width, is_signed>                  the low bits of the byte; those above are 0
//
// Source: ONNX's "Float stored in 8 bits", "Float stored in 4 bits" and "4 bit integer types".

#pragma once

enum class Special {
    infinities,     // the greatest exponent is for infinities and NaN
    only_nan,       // all ones is NaN
    one_nan,        // -0 is NaN
    none,           // what is too large becomes the largest, NaN becomes -0
};

// The mantissa's last `shift` bits rounded away, half to even.
__device__ inline unsigned rounded_shift(unsigned value, int shift) {
    return (value + (1u << (shift - 1)) - 1 + (value >> shift & 1)) >> shift;
}

template <int exponent_bits, int mantissa_bits, int bias, Special special> struct SmallFloat {
    static constexpr int sign_shift = exponent_bits + mantissa_bits;
    static constexpr unsigned char sign = 1 << sign_shift;
    static constexpr unsigned char nan =
        special == Special::infinities ? sign - 2 : special == Special::only_nan ? sign - 1 : sign;
    static constexpr unsigned char largest =
        special == Special::infinities ? sign - 1 - (1 << mantissa_bits) : special == Special::only_nan ? sign - 2 : sign - 1;
    static constexpr unsigned char overflow =
        special == Special::infinities ? largest + 1 : special == Special::none ? largest : nan;

    unsigned char bits;

    __device__ float decode() const {
        const unsigned magnitude = bits & (sign - 1), negative = static_cast<unsigned>(bits & sign) << (31 - sign_shift);
        if (special == Special::one_nan && bits == nan) return __uint_as_float(0x7fc00000u);
        if (special == Special::only_nan && magnitude == nan) return __uint_as_float(negative | 0x7fc00000u);
        if (special == Special::infinities && magnitude > largest)
            return __uint_as_float(negative | 0x7f800000u | (magnitude - overflow) << (23 - mantissa_bits));
        const unsigned exponent = magnitude >> mantissa_bits, mantissa = magnitude & ((1 << mantissa_bits) - 1);
        if (exponent == 0) {
            constexpr float unit = 1.0f / (1 << (bias - 1 < 30 ? bias - 1 : 30)) / (1 << mantissa_bits);
            const float value = static_cast<float>(mantissa) * unit;
            return __uint_as_float(__float_as_uint(value) | negative);
        }
        return __uint_as_float(negative | (exponent + 127 - bias) << 23 | mantissa << (23 - mantissa_bits));
    }

    // `saturate` holds infinities and what is too large at the largest value.
    static __device__ SmallFloat encode(float value, bool saturate) {
        const unsigned bits = __float_as_uint(value), magnitude = bits & 0x7fffffffu;
        const unsigned char negative = bits == magnitude ? 0 : sign;
        if (magnitude > 0x7f800000u) return SmallFloat{special == Special::one_nan ? nan : static_cast<unsigned char>(nan ^ negative)};
        constexpr int shift = 23 - mantissa_bits;
        const int exponent = static_cast<int>(magnitude >> 23) - 127 + bias;
        unsigned code = 0;
        if (exponent > (1 << exponent_bits)) code = sign;
        else if (exponent >= 1) code = rounded_shift(magnitude - (127u - bias << 23), shift);
        else if (-exponent <= mantissa_bits) code = rounded_shift((magnitude & 0x7fffffu) | 0x800000u, shift + 1 - exponent);
        if (code > largest) {
            if (saturate) code = largest;
            else if (special == Special::one_nan) return SmallFloat{nan};
            else code = overflow;
        }
        if (special == Special::one_nan && code == 0) return SmallFloat{0};
        return SmallFloat{static_cast<unsigned char>(code | negative)};
    }
};

using Float8E4M3FN = SmallFloat<4, 3, 7, Special::only_nan>;
using Float8E4M3FNUZ = SmallFloat<4, 3, 8, Special::one_nan>;
using Float8E5M2 = SmallFloat<5, 2, 15, Special::infinities>;
using Float8E5M2FNUZ = SmallFloat<5, 2, 16, Special::one_nan>;
using Float4E2M1 = SmallFloat<2, 1, 1, Special::none>;

enum Rounding { ROUND_UP = 0, ROUND_DOWN = 1, ROUND_NEAREST = 2 };

struct PowerOfTwo {
    unsigned char bits;

    __device__ float decode() const {
        return __uint_as_float(bits == 255 ? 0x7fc00000u : bits == 0 ? 0x00400000u : static_cast<unsigned>(bits) << 23);
    }

    // The sign is dropped. Below 2^-126 float has no exponent of its own: bits 0x400000 are 2^-127, the least value of the type.
    static __device__ PowerOfTwo encode(float value, bool saturate, int rounding) {
        const unsigned bits = __float_as_uint(value) & 0x7fffffffu;
        if (bits > 0x7f800000u) return PowerOfTwo{255};
        unsigned exponent = bits >> 23;
        const unsigned fraction = bits & 0x7fffffu;
        if (rounding == ROUND_UP) exponent += fraction > (exponent == 0 ? 0x400000u : 0u);
        else if (rounding == ROUND_NEAREST) exponent += fraction >= (exponent == 0 ? 0x600000u : 0x400000u);
        if (saturate) return PowerOfTwo{static_cast<unsigned char>(exponent < 254 ? exponent : 254)};
        return PowerOfTwo{static_cast<unsigned char>(bits < 0x400000u || exponent > 255 ? 255 : exponent)};
    }
};

template <int width, bool is_signed> struct SmallInteger {
    static constexpr int mask = (1 << width) - 1;
    static constexpr int least = is_signed ? -(1 << (width - 1)) : 0, greatest = least + mask;

    unsigned char bits;

    __device__ int decode() const { return is_signed && bits >> (width - 1) & 1 ? static_cast<int>(bits & mask) - mask - 1 : bits & mask; }
    static __device__ SmallInteger encode(long long value) { return SmallInteger{static_cast<unsigned char>(value & mask)}; }
};

using Int4 = SmallInteger<4, true>;
using UInt4 = SmallInteger<4, false>;
using Int2 = SmallInteger<2, true>;
using UInt2 = SmallInteger<2, false>;
