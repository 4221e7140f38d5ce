import type { PacketBatch } from '../packet/packet-batch.ts'
import type { DeframerStep } from './stream-deframer.ts'

/** Why `FrameSource.next` returned. */
export type FrameSourceStep =
  | DeframerStep
  /** The peer said that nothing follows. */
  | { readonly type: 'ended' }
  /** Final: the connection is of no use any more. */
  | { readonly type: 'failed'; readonly text: string }

/** Makes frames of the bytes of a connection; used as a `StreamDeframer` is, which is one. */
export interface FrameSource {
  /** Takes the next bytes, which stay unchanged until `next` says `starved`. */
  feed(chunk: Uint8Array): void
  /** Puts packets into `batch` with this owner, up to the first thing that needs the caller. */
  next(batch: PacketBatch, owner: number): FrameSourceStep
}
