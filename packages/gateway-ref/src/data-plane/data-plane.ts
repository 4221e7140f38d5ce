import type { PacketBatch } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { PlaneCommand } from './commands.ts'
import type { PlaneStats } from './engine.ts'
import type { PlaneEvent } from './events.ts'
import type { Carrier, Traffic } from './session-table.ts'

/** A data plane at work, as its control plane sees it, wherever it runs. */
export interface DataPlane {
  /** What runs it. */
  readonly driver: 'worker' | 'loop' | 'portable'
  /** How many threads of its own it has. */
  readonly workers: number
  /** Where stream channels put their packets, with sessions as owners; each hands it over before it returns. */
  readonly fromStreams: PacketBatch
  command(command: PlaneCommand): void
  /** Takes the packets of `fromStreams`. The batch may be used again when it returns. */
  handleStreamPackets(batch: PacketBatch): void
  /** How often it was started anew after it had died. */
  readonly restarts: number
  /** The last time that it was. */
  readonly lastRestart: PlaneRestart | undefined
  /** What passed for a session over a channel since its installation. */
  traffic(session: number, carrier: Carrier): Traffic
  stats(): PlaneStats
  /** Ends it; nothing is told afterwards. Device and socket stay open: they belong to whoever opened them. */
  stop(): Promise<void>
}

/** That a data plane had died, or one of its workers. */
export interface PlaneRestart {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly reason: string
  /** Which one, of several workers. */
  readonly worker?: number
}

/** Whom a data plane tells. */
export interface DataPlaneHost {
  handleEvent(event: PlaneEvent, now: Milliseconds): void
  /** Sends a packet on a session's stream channel. The bytes must be copied. */
  sendOnStream(session: number, bytes: Uint8Array, offset: number, length: number): void
  /**
   * A data plane has died, and nothing more comes of it; a new one, which knows nothing but its settings, takes its place.
   * Returns what it has to be told to go on: sessions, their channels, associations. Of several workers this is one.
   */
  restore(): Iterable<PlaneCommand>
  /** A data plane has died and can't be replaced. */
  handleFailure(error: Error): void
}
