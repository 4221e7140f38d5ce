import type { FrameType } from '@twinbore/core'
import type { Milliseconds } from '@twinbore/core/runtime'

// The stream channel of the simulated world: as TCP seen from a session. In order and whole; while the path is dark
// everything waits, and comes some time after it is back (retransmission with back-off); or the connection is cut.

type Side = 'client' | 'gateway'

export interface StreamEnd {
  frame(type: FrameType, payload: Uint8Array): void
  closed(): void
}

export interface StreamWorld {
  readonly time: Milliseconds
  later(ms: Milliseconds, run: () => void): void
  chance(bound: number): number
}

interface Connection {
  readonly ends: Readonly<Record<Side, StreamEnd>>
  readonly open: Record<Side, boolean>
  readonly lastArrival: Record<Side, Milliseconds>
  held: { readonly to: Side; readonly run: () => void }[]
}

/** The wait for the first retransmission after the path is back: up to this. */
const RETRANSMIT_MS = 1000

export class SimulatedStream {
  readonly latencyMs: Milliseconds
  dark = false
  private readonly world: StreamWorld
  private connection: Connection | undefined = undefined

  constructor(world: StreamWorld, latencyMs: Milliseconds) {
    this.world = world
    this.latencyMs = latencyMs
  }

  connect(ends: Readonly<Record<Side, StreamEnd>>): void {
    this.connection = {
      ends,
      open: { client: true, gateway: true },
      lastArrival: { client: 0, gateway: 0 },
      held: [],
    }
  }

  /** A new connection is about to take over: both hands close the old one silently. */
  replace(): void {
    if (this.connection !== undefined) this.connection.open.client = this.connection.open.gateway = false
  }

  send(from: Side, type: FrameType, payload: Uint8Array): void {
    const connection = this.connection
    const to = from === 'client' ? 'gateway' : 'client'
    if (connection?.open[from]) this.carry(connection, to, () => connection.ends[to].frame(type, payload))
  }

  /** One side closes; the other learns of it. */
  close(from: Side): void {
    const connection = this.connection
    if (!connection?.open[from]) return
    connection.open[from] = false
    const to = from === 'client' ? 'gateway' : 'client'
    this.carry(connection, to, () => {
      connection.open[to] = false
      connection.ends[to].closed()
    })
  }

  /** Something on the way resets the connection; both sides learn of it at once. */
  cut(): void {
    const connection = this.connection
    if (connection === undefined) return
    for (const side of ['client', 'gateway'] as const) {
      if (!connection.open[side]) continue
      connection.open[side] = false
      this.world.later(this.latencyMs, () => connection.ends[side].closed())
    }
  }

  restore(): void {
    this.dark = false
    const connection = this.connection
    if (connection === undefined) return
    this.world.later(this.latencyMs + this.world.chance(RETRANSMIT_MS), () => {
      if (this.dark) return
      const held = connection.held
      connection.held = []
      for (const waiting of held) waiting.run()
    })
  }

  private carry(connection: Connection, to: Side, deliver: () => void): void {
    // Behind something that waits for its retransmission, everything waits.
    const at = Math.max(connection.lastArrival[to], this.world.time + this.latencyMs)
    connection.lastArrival[to] = at
    const run = () => {
      if (connection.open[to]) deliver()
    }
    this.world.later(at - this.world.time, () => {
      if (this.dark || connection.held.some(other => other.to === to)) connection.held.push({ to, run })
      else run()
    })
  }
}
