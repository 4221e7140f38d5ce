/** Fragmented datagrams that are remembered at once: a newer one takes the place of an older one. */
const DATAGRAMS = 1024
const WORKER_MASK = 63

/**
 * Which worker translates the rest of a fragmented datagram whose first fragment has passed, for all workers: the kernel may
 * give each fragment to another queue. Entries are a hash and, in its lowest 6 bits, a worker. Memory: 4 KiB for all.
 */
export class FragmentPlaces {
  private readonly entries: Int32Array

  /** @param memory - of `allocateFragmentPlaces` */
  constructor(memory: SharedArrayBuffer) {
    this.entries = new Int32Array(memory)
  }

  /** The worker of a datagram of which the first fragment has passed, or -1. */
  find(hash: number): number {
    const entry = Atomics.load(this.entries, placeOf(hash))
    return entry !== 0 && (entry & ~WORKER_MASK) === tagOf(hash) ? entry & WORKER_MASK : -1
  }

  set(hash: number, worker: number): void {
    Atomics.store(this.entries, placeOf(hash), tagOf(hash) | worker)
  }
}

export function allocateFragmentPlaces(): SharedArrayBuffer {
  return new SharedArrayBuffer(DATAGRAMS * 4)
}

function placeOf(hash: number): number {
  return (hash >>> 6) & (DATAGRAMS - 1)
}

/** Never 0, so that an entry is not either. */
function tagOf(hash: number): number {
  return (hash | (1 << 31)) & ~WORKER_MASK
}
