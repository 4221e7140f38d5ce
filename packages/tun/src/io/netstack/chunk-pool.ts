/** What is read from a socket, and written to one, at a time. */
export const CHUNK_BYTES = 65_536
/** 2 MiB. */
const MAX_SPARE = 32

const spare: Uint8Array[] = []

/** Memory of `CHUNK_BYTES`, with anything in it: making new one, zeroed, for each write costs as much as filling it. */
export function takeChunk(): Uint8Array {
  return spare.pop() ?? new Uint8Array(CHUNK_BYTES)
}

/** Gives a chunk back that nobody reads any more. One that never comes back is garbage as usual. */
export function giveChunk(chunk: Uint8Array): void {
  if (spare.length < MAX_SPARE) spare.push(chunk)
}
