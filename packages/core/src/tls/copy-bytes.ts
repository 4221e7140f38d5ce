/** A copy of a range. `slice` of a Buffer, which is a Uint8Array too, would be a view. */
export function copyBytes(bytes: Uint8Array, from = 0, to: number = bytes.length): Uint8Array {
  return new Uint8Array(bytes.subarray(from, to))
}
