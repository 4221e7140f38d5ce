/**
 * A copy of `bytes[from, to)` in memory of its own. Not `slice`: that of a Buffer, which sockets give, is a view, so a small
 * part would keep the whole datagram alive and change when it does.
 */
export function copyBytes(bytes: Uint8Array, from = 0, to: number = bytes.length): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(from, to))
}
