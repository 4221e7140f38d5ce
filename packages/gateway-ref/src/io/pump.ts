/** What announces that something waits: a packet device, a datagram socket. */
export interface Source {
  onReadable: (() => void) | undefined
}

/** So many batches a source may have in a row before others get their turn. */
const BATCHES_PER_TURN = 8

/**
 * Empties a source while something waits: `pump` takes one batch and returns whether the source was drained, `settle`
 * follows the last batch of a turn. A source that is not drained announces itself again in the next turn of the loop.
 */
export function pumpWhileReadable(source: Source, pump: () => boolean, settle: () => void): void {
  source.onReadable = () => {
    for (let batch = 0; batch < BATCHES_PER_TURN && !pump(); batch++);
    settle()
  }
}
