import { performance } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import { DropReason, dropReasonName, PacketBatch, Verdict } from '@twinbore/core/packet'
import type { Clock } from '@twinbore/core/runtime'
import type { DatagramNotice } from '@twinbore/tun'
import { nativeCopy, WakeSignal } from '@twinbore/tun/io'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'
import type { DeviceHandover } from '../../egress/egress.ts'
import { GatewayError } from '../../errors.ts'
import type { Logger } from '../../log/logger.ts'
import type { PlaneCommand } from '../commands.ts'
import type { DataPlane, DataPlaneHost } from '../data-plane.ts'
import { sequenceCells } from '../datagram-side.ts'
import type { PlaneSettings, PlaneStats } from '../engine.ts'
import { HeartbeatWatch } from '../heartbeat-watch.ts'
import { addStats } from '../plane-stats.ts'
import { RestartLimit } from '../restart-limit.ts'
import { PacketRing } from '../rings/packet-ring.ts'
import { type Carrier, type Traffic, trafficCells, trafficOf } from '../session-table.ts'
import {
  STATUS_WORDS,
  StatusWord,
  type WorkerMemory,
  type WorkerPlace,
  type WorkerReport,
  type WorkerStart,
} from './worker-protocol.ts'

export interface WorkerDriverHands {
  readonly host: DataPlaneHost
  readonly device: DeviceHandover
  /** The descriptor of the UDP socket; `undefined` without datagram channels. */
  readonly socket: number | undefined
  /** Whether the socket sends trains of equal datagrams in one piece. */
  readonly gso: boolean
  readonly records: DataPlaneConfig['records']
  /** What the socket has to say in the worker. */
  readonly onNotice: (notice: DatagramNotice) => void
  readonly clock: Clock
  readonly log: Logger
  /** When it is one of several. */
  readonly mesh?: WorkerPlace
  /** What wakes it; then its owner closes it. @defaultValue its own */
  readonly wake?: WakeSignal
}

/** Packets of stream channels on their way to the worker, and back. */
const RING_BYTES = 1 << 20
/** Data that only flows is told this often. */
const ACTIVITY_INTERVAL_MS = 50
/** The heartbeat is looked at this often; so many looks without one, and the worker is replaced. It beats every 100 ms at least. */
const LOOK_INTERVAL_MS = 100
const MOST_LOOKS = 4
/**
 * After so many packets for stream channels at once, the next are looked for a moment later instead of being told of: each
 * wakeup, and each write to TCP, serves more of them. Fewer never wait.
 */
const BULK_PACKETS = 24
const BULK_PAUSE_MS = 1
/** At a restart there are four commands for each session: they are posted together, but not all of them at once. */
const COMMANDS_TOGETHER = 256
/** How long a worker may take to begin, and to end. */
const START_TIMEOUT_MS = 20_000
const END_TIMEOUT_MS = 5_000
/** How long a stop waits for what was commanded before. */
const STOP_WAIT_MS = 500
const STOP_STEP_MS = 5

/**
 * A data plane on a thread of its own. The descriptors stay this thread's, so a worker that dies (by an exception, by its exit,
 * or because it hangs) is replaced: the new one is told of sessions and associations by the host, and what arrives meanwhile
 * waits in the descriptors' queues.
 */
export class WorkerDriver implements DataPlane {
  readonly driver = 'worker'
  readonly workers = 1
  readonly fromStreams: PacketBatch
  restarts = 0
  private readonly hands: WorkerDriverHands
  private settings: PlaneSettings
  private readonly memory: Omit<WorkerMemory, 'status'>
  private readonly totals: Float64Array
  private readonly toWorker: PacketRing
  private readonly fromWorker: PacketRing
  private readonly wake: WakeSignal
  private readonly notify = WakeSignal.open()
  private readonly limit = new RestartLimit()
  private readonly looks: NodeJS.Timeout
  private status = new Int32Array(new SharedArrayBuffer(STATUS_WORDS * 4))
  private watch = new HeartbeatWatch(MOST_LOOKS)
  private worker: Worker
  private latest: PlaneStats | undefined
  private before: PlaneStats | undefined
  private handingIn: NodeJS.Immediate | undefined
  private handOutSoon: NodeJS.Timeout | undefined
  /** Sessions that it was told to remove. */
  private readonly leaving = new Set<number>()
  private isStopped = false
  private isLost = false
  private failure: Error | undefined

  private constructor(settings: PlaneSettings, hands: WorkerDriverHands) {
    const { capacity, maxAssociations, mtu } = settings
    this.hands = hands
    this.wake = hands.wake ?? WakeSignal.open()
    this.settings = { ...settings, activityIntervalMs: ACTIVITY_INTERVAL_MS }
    this.memory = {
      totals: new SharedArrayBuffer(trafficCells(capacity) * 8),
      sequences: new SharedArrayBuffer(sequenceCells(maxAssociations) * 8),
      fromStreams: PacketRing.allocate(RING_BYTES),
      toStreams: PacketRing.allocate(RING_BYTES),
    }
    this.totals = new Float64Array(this.memory.totals)
    const copy = nativeCopy()
    this.toWorker = new PacketRing(this.memory.fromStreams, copy)
    this.fromWorker = new PacketRing(this.memory.toStreams, copy)
    this.fromStreams = new PacketBatch({ slotBytes: Math.max(2048, mtu) })
    this.notify.onSignal(this.handOut)
    this.handOut()
    this.worker = this.spawn()
    this.looks = setInterval(() => this.look(), LOOK_INTERVAL_MS)
    this.looks.unref()
  }

  /** Resolves when the worker is at work. @throws GatewayError `ERR_GATEWAY_HOST` */
  static async start(settings: PlaneSettings, hands: WorkerDriverHands): Promise<WorkerDriver> {
    const driver = new WorkerDriver(settings, hands)
    const { worker } = driver
    let timer: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error('it does not begin')), START_TIMEOUT_MS)
        worker.once('message', () => resolve())
        worker.once('error', reject)
        worker.once('exit', () => reject(driver.failure ?? new Error('it has ended')))
      })
    } catch (error) {
      await driver.stop()
      const reason = error instanceof Error ? error.message : String(error)
      throw planeError(`does not start: ${reason}`, error)
    } finally {
      clearTimeout(timer)
    }
    return driver
  }

  command(command: PlaneCommand): void {
    if (command.type === 'set-destinations') {
      this.settings = { ...this.settings, destinations: command.destinations }
    }
    if (this.isStopped) return
    if (command.type === 'remove-session') this.leaving.add(command.session)
    this.post([command])
  }

  handleStreamPackets(batch: PacketBatch): void {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward) this.pushStreamPacket(batch, slot)
    }
    this.publishStreamPackets()
  }

  /** Takes the packet of one slot, for `publishStreamPackets` to let the worker know. */
  pushStreamPacket(batch: PacketBatch, slot: number): void {
    this.toWorker.push(batch.bytes, batch.offsets[slot]!, batch.lengths[slot]!, batch.owners[slot]!)
  }

  publishStreamPackets(): void {
    // One wakeup for all that this turn of the loop reads.
    this.handingIn ??= setImmediate(this.handIn)
  }

  traffic(session: number, carrier: Carrier): Traffic {
    return trafficOf(this.totals, session, carrier)
  }

  stats(): PlaneStats {
    const { latest, before } = this
    // Before a worker is at work its first report has come, or there was one before it.
    const stats = before && latest ? addStats(before, latest) : (latest ?? before)!
    const dropped = this.toWorker.dropped + this.fromWorker.dropped
    if (dropped === 0) return stats
    // What found no room on its way from one thread to the other.
    return { ...stats, drops: { ...stats.drops, [queueFull]: (stats.drops[queueFull] ?? 0) + dropped } }
  }

  async stop(): Promise<void> {
    if (this.isStopped) return
    this.isStopped = true
    clearInterval(this.looks)
    clearTimeout(this.handOutSoon)
    await this.finishCommands()
    const ended = this.worker.terminate()
    this.wake.signal()
    await ended
    if (!this.hands.wake) this.wake.close()
    this.notify.close()
  }

  private post(commands: readonly PlaneCommand[]): void {
    this.worker.postMessage(commands)
    Atomics.add(this.status, StatusWord.posted, 1)
    this.wakeUp()
  }

  /** Associations are closed by command: their peers should hear of it. */
  private async finishCommands(): Promise<void> {
    const { status } = this
    for (let waited = 0; waited < STOP_WAIT_MS; waited += STOP_STEP_MS) {
      if (Atomics.load(status, StatusWord.taken) === Atomics.load(status, StatusWord.posted)) return
      await new Promise(resolve => setTimeout(resolve, STOP_STEP_MS))
    }
  }

  private wakeUp(): void {
    if (Atomics.exchange(this.status, StatusWord.waits, 0) === 1) this.wake.signal()
  }

  /** Lets the worker see the packets of stream channels. */
  private readonly handIn = (): void => {
    this.handingIn = undefined
    if (this.isStopped) return
    this.toWorker.publish()
    this.wakeUp()
  }

  /** Packets for stream channels. */
  private readonly handOut = (): void => {
    if (this.isStopped) return
    const { host } = this.hands
    let packets = 0
    do {
      this.fromWorker.drain((bytes, offset, length, session) => {
        packets++
        host.sendOnStream(session, bytes, offset, length)
        return true
      })
      if (packets >= BULK_PACKETS) {
        if (this.handOutSoon) this.handOutSoon.refresh()
        else this.handOutSoon = setTimeout(this.handOut, BULK_PAUSE_MS)
        return
      }
    } while (!this.fromWorker.willWait())
  }

  private spawn(): Worker {
    const { device, socket, gso, records, mesh } = this.hands
    // Of its own, so that nothing of the one before is taken for its life.
    const status = new SharedArrayBuffer(STATUS_WORDS * 4)
    this.status = new Int32Array(status)
    this.watch = new HeartbeatWatch(MOST_LOOKS)
    const start: WorkerStart = {
      settings: this.settings,
      device,
      socket,
      gso,
      records,
      shared: { ...this.memory, status },
      mesh,
      wake: this.wake.descriptor,
      notify: this.notify.descriptor,
      clockOrigin: hrtimeMs() - performance.now(),
    }
    const worker = new Worker(entry, { workerData: start, name: 'twinbore data plane' })
    worker.on('message', (report: WorkerReport) => this.handleReport(worker, report))
    worker.on('error', error => {
      this.failure = error
    })
    worker.on('exit', () => this.handleExit(worker))
    return worker
  }

  private handleReport(worker: Worker, { events, stats, notice, lost }: WorkerReport): void {
    if (this.isStopped || worker !== this.worker) return
    if (stats) this.latest = stats
    if (notice) this.hands.onNotice(notice)
    if (lost !== undefined) {
      this.isLost = true
      this.fail(new Error(lost))
    }
    const { host, clock } = this.hands
    for (const event of events) {
      if (event.type === 'session-removed') this.leaving.delete(event.session)
      host.handleEvent(event, clock.now())
    }
  }

  /** Only a worker that has begun is watched: to begin takes longer than a beat. */
  private look(): void {
    const beat = Atomics.load(this.status, StatusWord.heartbeat)
    if (this.isStopped || this.isLost || beat === 0 || !this.watch.look(beat)) return
    this.watch = new HeartbeatWatch(Number.POSITIVE_INFINITY)
    this.failure = new Error('it does not answer')
    const { worker } = this
    const giveUp = setTimeout(() => this.fail(planeError("hangs and can't be ended")), END_TIMEOUT_MS)
    void worker.terminate().finally(() => clearTimeout(giveUp))
    this.wake.signal()
  }

  private handleExit(worker: Worker): void {
    if (this.isStopped || this.isLost || worker !== this.worker) return
    const { host, clock, log, mesh } = this.hands
    const reason = this.failure?.message ?? 'it has ended'
    this.failure = undefined
    if (!this.latest && this.restarts === 0) return
    if (!this.limit.allows(clock.now())) {
      this.fail(planeError(`dies again and again: ${reason}`))
      return
    }
    this.restarts++
    log.error('the data plane died and is started anew', {
      ...(mesh && { worker: mesh.self }),
      reason,
      restarts: this.restarts,
    })
    if (this.latest) this.before = this.before ? addStats(this.before, this.latest) : this.latest
    this.latest = undefined
    // Nothing more comes of sessions that it was to remove.
    for (const session of this.leaving) host.handleEvent({ type: 'session-removed', session }, clock.now())
    this.leaving.clear()
    this.worker = this.spawn()
    let commands: PlaneCommand[] = []
    for (const command of host.restore()) {
      if (commands.push(command) < COMMANDS_TOGETHER) continue
      this.post(commands)
      commands = []
    }
    if (commands.length > 0) this.post(commands)
  }

  private fail(error: Error): void {
    if (this.isStopped) return
    this.hands.host.handleFailure(error)
  }
}

/** Beside this file; sources run what was built of them, as threads can't be started from TypeScript. */
const entry = new URL(import.meta.url.replace(/\/src\/(.*\/)worker-driver\.ts$/, '/dist/$1worker-driver.js'))
entry.pathname = entry.pathname.replace(/worker-driver\.js$/, 'worker-entry.js')

function planeError(what: string, cause?: unknown): GatewayError {
  return new GatewayError('ERR_GATEWAY_HOST', `the data plane's thread ${what}`, { cause })
}

const queueFull = dropReasonName(DropReason.queueFull)

function hrtimeMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
