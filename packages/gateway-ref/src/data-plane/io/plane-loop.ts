import type { PacketBatch } from '@twinbore/core/packet'
import type { Clock } from '@twinbore/core/runtime'
import type { PlaneCommand } from '../commands.ts'
import type { DataPlaneEngine } from '../engine.ts'
import type { PlaneEvent } from '../events.ts'
import type { WorkerMesh } from '../mesh/worker-mesh.ts'
import { Moderation } from '../moderation.ts'
import type { PacketRing } from '../rings/packet-ring.ts'
import { StatusWord, type WorkerReport } from './worker-protocol.ts'

/** What the loop of a worker waits with; `DescriptorWait` of `@twinbore/tun/io` fits. */
export interface PlaneWait {
  wait(timeoutMs: number): number
  isReady(place: number): boolean
  isBroken(place: number): boolean
  sleepMicroseconds(time: number): void
}

/** The places of the descriptors in `PlaneWait`. */
export const Place = { wake: 0, device: 1, socket: 2 } as const

export interface PlaneLoopHands {
  readonly wait: PlaneWait
  readonly clock: Clock
  readonly status: Int32Array
  readonly fromStreams: PacketRing
  readonly toStreams: PacketRing
  readonly hasSocket: boolean
  /** The other workers, when it is one of several. */
  readonly mesh?: WorkerMesh | undefined
  /** The next commands that were posted together, if any. */
  readonly takeCommands: () => readonly PlaneCommand[] | undefined
  readonly clearWake: () => void
  readonly report: (report: WorkerReport) => void
  /** Wakes the main thread: packets for stream channels are there. */
  readonly notify: () => void
}

/** So many batches a source may have in a row before the other gets its turn. */
const BATCHES_PER_TURN = 8
/** Waits are no longer than this, so that the heartbeat goes on. */
const LONGEST_WAIT_MS = 100
/** Every so often the thread's own event loop has its turn: timers, `terminate`. */
const TURN_MS = 100
/** Counters are told at most this often, while they change. */
const STATS_INTERVAL_MS = 200
/**
 * The loop of a data plane that has a thread of its own. It blocks in poll(2) and runs to completion after it:
 *
 *     wait -> commands -> packets of streams -> socket -> device -> other workers -> deadline -> events, packets for streams -> wait
 */
export class PlaneLoop {
  private readonly engine: DataPlaneEngine
  private readonly hands: PlaneLoopHands
  private readonly streams: PacketBatch
  private socketReady = true
  private deviceReady = true
  private meshReady = false
  private handledBefore = 0
  private sentBefore = 0
  private readonly moderation: Moderation
  private statsAt = Number.NEGATIVE_INFINITY
  private statsOf = -1
  private messagesTaken = 0
  /** The device is gone, and with it all there is to do. */
  private isOver = false

  constructor(engine: DataPlaneEngine, hands: PlaneLoopHands) {
    this.engine = engine
    this.hands = hands
    this.streams = engine.fromStreams
    this.moderation = new Moderation(hands.clock.now())
  }

  /** Works for a while, then returns so that the event loop has its turn. False when there is nothing more to do. */
  turn(): boolean {
    const until = this.hands.clock.now() + TURN_MS
    do {
      this.once()
    } while (!this.isOver && this.hands.clock.now() < until)
    return !this.isOver
  }

  /** Ends the loop: nothing can be read or written any more. */
  lose(reason: string): void {
    if (this.isOver) return
    this.isOver = true
    this.hands.report({ events: [], lost: reason })
  }

  /** Waits once and does what there is to do. */
  once(): void {
    const { engine, hands } = this
    const { clock, status } = hands
    Atomics.add(status, StatusWord.heartbeat, 1)
    this.pause()
    this.takeCommands()
    if (!hands.fromStreams.isEmpty) this.takeStreamPackets()
    const now = clock.now()
    if (this.socketReady) {
      const before = engine.packetsHandled
      this.socketReady = !engine.pumpSocket(BATCHES_PER_TURN, now)
      // An answer of the host or of a near one is there as soon as the packet is written: look at once.
      this.deviceReady ||= engine.packetsHandled !== before
    }
    if (this.deviceReady) this.deviceReady = !engine.pumpDevice(BATCHES_PER_TURN, now)
    if (hands.mesh) this.meshReady = !engine.pumpMesh(BATCHES_PER_TURN, now)
    const { deadline } = engine
    if (deadline !== undefined && clock.now() >= deadline) engine.handleDeadline(clock.now())
    if (hands.toStreams.publish()) hands.notify()
    this.report()
    const { packetsHandled, packetsSent } = engine
    this.moderation.note(packetsHandled - this.handledBefore, packetsSent - this.sentBefore, clock.now())
    this.handledBefore = packetsHandled
    this.sentBefore = packetsSent
  }

  /** Waits until there is something to do. */
  private pause(): void {
    const { wait, clock, status, fromStreams, mesh } = this.hands
    let timeout = 0
    if (!this.socketReady && !this.deviceReady && !this.meshReady) {
      if (this.rest()) return
      const { deadline } = this.engine
      timeout = Math.min(LONGEST_WAIT_MS, Math.max(0, (deadline ?? Number.POSITIVE_INFINITY) - clock.now()))
      Atomics.store(status, StatusWord.waits, 1)
      if (Atomics.load(status, StatusWord.posted) !== this.messagesTaken || !fromStreams.isEmpty) timeout = 0
      if (mesh && !mesh.willWait()) timeout = 0
    }
    const ready = wait.wait(timeout)
    Atomics.store(status, StatusWord.waits, 0)
    mesh?.isAwake()
    if (ready > 0) this.look()
  }

  /** Sleeps for a moment where traffic is dense. Returns whether something is there after it. */
  private rest(): boolean {
    const { wait, fromStreams, mesh } = this.hands
    const time = this.moderation.sleepMicroseconds
    if (time === 0) return false
    wait.sleepMicroseconds(time)
    if (wait.wait(0) > 0) this.look()
    else if (fromStreams.isEmpty && (mesh?.isEmpty ?? true)) return false
    return true
  }

  /** Takes down what the last wait found. */
  private look(): void {
    const { wait, hasSocket } = this.hands
    if (wait.isReady(Place.wake)) this.hands.clearWake()
    if (wait.isBroken(Place.device)) {
      this.lose('the interface is gone')
      return
    }
    this.deviceReady ||= wait.isReady(Place.device)
    this.socketReady ||= hasSocket && wait.isReady(Place.socket)
  }

  private takeCommands(): void {
    const { takeCommands, status, clock } = this.hands
    if (Atomics.load(status, StatusWord.posted) === this.messagesTaken) return
    for (let commands = takeCommands(); commands !== undefined; commands = takeCommands()) {
      for (const command of commands) this.engine.handleCommand(command, clock.now())
      this.messagesTaken = (this.messagesTaken + 1) | 0
      // There may be many in a row, at a restart.
      Atomics.add(status, StatusWord.heartbeat, 1)
    }
    Atomics.store(status, StatusWord.taken, this.messagesTaken)
  }

  private takeStreamPackets(): void {
    const { streams } = this
    for (let more = true; more; ) {
      streams.reset()
      more = this.hands.fromStreams.drainTo(streams) > 0
      if (more) this.engine.handleStreamPackets(streams, this.hands.clock.now())
    }
  }

  private report(): void {
    const events: PlaneEvent[] = []
    for (let event = this.engine.poll(); event !== undefined; event = this.engine.poll()) events.push(event)
    const now = this.hands.clock.now()
    const hasStats = this.engine.packetsHandled !== this.statsOf && now >= this.statsAt + STATS_INTERVAL_MS
    if (hasStats) {
      this.statsAt = now
      this.statsOf = this.engine.packetsHandled
      this.hands.report({ events, stats: this.engine.stats() })
    } else if (events.length > 0) this.hands.report({ events })
  }
}
