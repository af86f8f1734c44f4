// Pixels as they lie in global memory: to words of the transform, and back. From the host: SOURCE and RESULT, each one
// of the structs here.

#ifndef WAVESTREAM_PIXEL_CUH
#define WAVESTREAM_PIXEL_CUH

template <typename Type>
struct Integer {
    using Stored = Type;
    static constexpr bool INTEGER = true;
    static __device__ __forceinline__ Word to_word(Stored value) { return static_cast<Word>(value); }
    static __device__ __forceinline__ int to_int(Stored value) { return static_cast<int>(value); }
    static __device__ __forceinline__ Stored from_int(int value) { return static_cast<Stored>(value); }
};

using uint8 = Integer<unsigned char>;
using int16 = Integer<short>;
using uint16 = Integer<unsigned short>;

struct float32 {
    using Stored = float;
    static constexpr bool INTEGER = false;
    static __device__ __forceinline__ Word to_word(Stored value) { return static_cast<Word>(value); }
    static __device__ __forceinline__ Stored from_int(int value) { return static_cast<float>(value); }
    static __device__ __forceinline__ Stored from_float(float value) { return value; }
};

struct float16 {
    using Stored = unsigned short;
    static constexpr bool INTEGER = false;
    static __device__ __forceinline__ Word to_word(Stored value) { return static_cast<Word>(half_to_float(value)); }
    static __device__ __forceinline__ Stored from_int(int value) { return float_to_half(static_cast<float>(value)); }
    static __device__ __forceinline__ Stored from_float(float value) { return float_to_half(value); }
};

// Words of the transform themselves, where what is read or written is not the image.
struct coefficient {
    using Stored = Word;
    static constexpr bool INTEGER = false;
    static __device__ __forceinline__ Word to_word(Stored value) { return value; }
    static __device__ __forceinline__ Stored from_int(int value) { return static_cast<Word>(value); }
    static __device__ __forceinline__ Stored from_float(Word value) { return value; }
};

using Source = SOURCE::Stored;
using Result = RESULT::Stored;

template <typename From, typename To>
struct Conversion {  // integers to another type
    static __device__ __forceinline__ typename To::Stored copy(typename From::Stored value) {
        return To::from_int(From::to_int(value));
    }
};

template <typename Same>
struct Conversion<Same, Same> {
    static __device__ __forceinline__ typename Same::Stored copy(typename Same::Stored value) { return value; }
};

template <bool integer>
struct Ending {  // integer images: rounded half to even, clipped
    static __device__ __forceinline__ Result pixel(Word value, int lowest, int highest) {
#if LIFTED
        const int whole = value;
#else
        const int whole = round_to_int(value);
#endif
        return RESULT::from_int(min(max(whole, lowest), highest));
    }
};

template <>
struct Ending<false> {
    template <typename Kind = RESULT>
    static __device__ __forceinline__ typename Kind::Stored pixel(Word value, int, int) {
        return Kind::from_float(value);
    }
};

#endif  // WAVESTREAM_PIXEL_CUH
