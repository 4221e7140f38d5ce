import { nativeLibrary } from './native-library.ts'

/**
 * Copies bytes between arrays that do not overlap. For shared memory above all: `set` of Uint8Array copies it several times as
 * slowly. Another thread sees the bytes when it has seen what is stored by `Atomics` afterwards.
 */
export type NativeCopy = (
  target: Uint8Array,
  targetAt: number,
  source: Uint8Array,
  sourceAt: number,
  length: number,
) => void

/** `memcpy` of the C library, over arrays that come again and again. @throws TunError `ERR_TUN_NO_FFI` */
export function nativeCopy(): NativeCopy {
  const library = nativeLibrary()
  const copy = library.function('memcpy', 'address', ['address', 'address', 'int64'])
  const known = new WeakMap<Uint8Array, number>()
  const addressOf = (bytes: Uint8Array): number => {
    const address = known.get(bytes) ?? library.addressOf(bytes)
    known.set(bytes, address)
    return address
  }
  return (target, targetAt, source, sourceAt, length) => {
    const isWithin = length >= 0 && targetAt >= 0 && sourceAt >= 0
    if (!isWithin || targetAt + length > target.length || sourceAt + length > source.length) {
      throw new RangeError('a copy beyond its array')
    }
    if (length > 0) copy(addressOf(target) + targetAt, addressOf(source) + sourceAt, length)
  }
}
