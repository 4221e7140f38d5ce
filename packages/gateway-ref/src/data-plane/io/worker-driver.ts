import { performance } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import { DropReason, dropReasonName, PacketBatch, Verdict } from '@twinbore/core/packet'
import type { Clock, Milliseconds } from '@twinbore/core/runtime'
import { allocateTranslatorMemory } from '@twinbore/pat'
import type { DatagramNotice } from '@twinbore/tun'
import { nativeCopy, WakeSignal } from '@twinbore/tun/io'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'
import type { DeviceHandover } from '../../egress/egress.ts'
import { GatewayError } from '../../errors.ts'
import type { Logger } from '../../log/logger.ts'
import type { PlaneCommand } from '../commands.ts'
import type { DataPlane, DataPlaneHost, PlaneRestart } from '../data-plane.ts'
import { sequenceCells } from '../datagram-side.ts'
import type { PlaneSettings, PlaneStats } from '../engine.ts'
import { faultText, HeartbeatWatch, isFault } from '../heartbeat-watch.ts'
import { addStats, flowFacts } from '../plane-stats.ts'
import { MOST_RESTARTS, RESTARTS_WITHIN_MS, RestartLimit } from '../restart-limit.ts'
import { type Carrier, type Traffic, trafficCells, trafficOf } from '../session-table.ts'
import { UnsettledRemovals } from '../unsettled-removals.ts'
import { StreamRings } from './stream-rings.ts'
import { threadActivity } from './thread-activity.ts'
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

/** Data that only flows is told this often. */
const ACTIVITY_INTERVAL_MS = 50
/** The heartbeat is looked at this often. It beats every 100 ms at least. */
const LOOK_INTERVAL_MS = 100
/** That a thread gets too little processor time is said at most this often. */
const STARVED_INTERVAL_MS = 60_000
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
  lastRestart: PlaneRestart | undefined
  private readonly hands: WorkerDriverHands
  private settings: PlaneSettings
  private memory: Omit<WorkerMemory, 'status'>
  private readonly totals: Float64Array
  private readonly rings: StreamRings
  private readonly wake: WakeSignal
  private readonly notify = WakeSignal.open()
  private readonly limit = new RestartLimit()
  private readonly looks: NodeJS.Timeout
  private status = new Int32Array(new SharedArrayBuffer(STATUS_WORDS * 4))
  private watch = new HeartbeatWatch()
  private worker: Worker
  private latest: PlaneStats | undefined
  private before: PlaneStats | undefined
  /** Sessions that it was told to remove. */
  private readonly leaving = new Set<number>()
  private readonly unsettled = new UnsettledRemovals()
  private isStopped = false
  private isLost = false
  /** It hangs, and is being ended. */
  private isEnding = false
  private starvedTold: Milliseconds = Number.NEGATIVE_INFINITY
  private failure: Error | undefined
  /** What a worker threw last. */
  private thrown: Error | undefined

  private constructor(settings: PlaneSettings, hands: WorkerDriverHands) {
    const { capacity, maxAssociations, mtu, translation } = settings
    this.hands = hands
    this.wake = hands.wake ?? WakeSignal.open()
    this.settings = { ...settings, activityIntervalMs: ACTIVITY_INTERVAL_MS }
    this.rings = new StreamRings({
      copy: nativeCopy(),
      wake: () => this.wakeUp(),
      sendOnStream: (session, bytes, offset, length) => hands.host.sendOnStream(session, bytes, offset, length),
    })
    this.memory = {
      totals: new SharedArrayBuffer(trafficCells(capacity) * 8),
      sequences: new SharedArrayBuffer(sequenceCells(maxAssociations) * 8),
      translations: translation && allocateTranslatorMemory(translation),
      ...this.rings.memory,
    }
    this.totals = new Float64Array(this.memory.totals)
    this.fromStreams = new PacketBatch({ slotBytes: Math.max(2048, mtu) })
    this.notify.onSignal(this.rings.handOut)
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
    if (command.type === 'remove-inside') {
      const [posted, taken] = [Atomics.load(this.status, StatusWord.posted), this.messagesTaken]
      this.unsettled.note(command, (posted + 1) | 0, taken)
    }
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
    this.rings.push(batch, slot)
  }

  publishStreamPackets(): void {
    if (!this.isStopped) this.rings.publish()
  }

  traffic(session: number, carrier: Carrier): Traffic {
    return trafficOf(this.totals, session, carrier)
  }

  stats(): PlaneStats {
    const { latest, before } = this
    // Before a worker is at work its first report has come, or there was one before it.
    const stats = before && latest ? addStats(before, latest) : (latest ?? before)!
    const { dropped } = this.rings
    if (dropped === 0) return stats
    // What found no room on its way from one thread to the other.
    return { ...stats, drops: { ...stats.drops, [queueFull]: (stats.drops[queueFull] ?? 0) + dropped } }
  }

  async stop(): Promise<void> {
    if (this.isStopped) return
    this.isStopped = true
    clearInterval(this.looks)
    this.rings.close()
    await this.finishCommands()
    const ended = this.worker.terminate()
    this.wake.signal()
    await ended
    if (!this.hands.wake) this.wake.close()
    this.notify.close()
  }

  /** Which of several it is, for the log. */
  private get place(): { readonly worker?: number } {
    const { mesh } = this.hands
    return mesh ? { worker: mesh.self } : {}
  }

  private get messagesTaken(): number {
    return Atomics.load(this.status, StatusWord.taken)
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

  private spawn(): Worker {
    const { device, socket, gso, records, mesh } = this.hands
    // Of its own, so that nothing of the one before is taken for its life.
    const status = new SharedArrayBuffer(STATUS_WORDS * 4)
    this.status = new Int32Array(status)
    this.watch = new HeartbeatWatch()
    this.isEnding = false
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
      this.thrown = error
    })
    worker.on('exit', code => this.handleExit(worker, code))
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

  private look(): void {
    const { status, isStopped, isLost, isEnding } = this
    if (isStopped || isLost || isEnding) return
    const heartbeat = Atomics.load(status, StatusWord.heartbeat)
    const state = this.watch.look(heartbeat, threadActivity(Atomics.load(status, StatusWord.thread)))
    if (state === 'starved') this.noteStarved()
    if (!isFault(state)) return
    this.isEnding = true
    this.failure = new Error(`it ${faultText[state]}`)
    const { worker } = this
    const giveUp = setTimeout(() => this.fail(planeError(`${faultText[state]}, and can't be ended`)), END_TIMEOUT_MS)
    void worker.terminate().finally(() => clearTimeout(giveUp))
    this.wake.signal()
  }

  private noteStarved(): void {
    const { clock, log } = this.hands
    const now = clock.now()
    if (now < this.starvedTold + STARVED_INTERVAL_MS) return
    this.starvedTold = now
    log.warn('the data plane gets too little processor time: the machine is overloaded', this.place)
  }

  private handleExit(worker: Worker, code: number): void {
    if (this.isStopped || this.isLost || worker !== this.worker) return
    const { host, clock, log } = this.hands
    const failure = this.failure ?? new Error(`its thread has ended with code ${code}`)
    this.failure = undefined
    if (!this.latest && this.restarts === 0) return
    const now = clock.now()
    if (!this.limit.allows(now)) {
      log.error('the data plane died and is given up', {
        ...this.place,
        ...this.whyOf(failure),
        restarts: this.restarts,
      })
      const often = `${this.limit.recent} times within ${RESTARTS_WITHIN_MS / 1000} s`
      this.fail(planeError(`dies again and again, ${often}; the last time: ${failure.message}`, failure))
      return
    }
    const { translation } = this.settings
    // It may have died of what it took over.
    if (!this.latest && translation) {
      this.memory = { ...this.memory, translations: allocateTranslatorMemory(translation) }
    }
    if (this.latest) this.before = this.before ? addStats(this.before, this.latest) : this.latest
    this.latest = undefined
    // Nothing more comes of sessions that it was to remove.
    for (const session of this.leaving) host.handleEvent({ type: 'session-removed', session }, now)
    this.leaving.clear()
    const unsettled = this.unsettled.handOn(this.messagesTaken)
    this.worker = this.spawn()
    if (unsettled.length > 0) this.post(unsettled)
    const sent = this.restore()
    this.rings.takeOver()
    this.noteRestart(failure, sent)
  }

  /** Tells the successor what it must know. Returns how much of each kind. */
  private restore(): { readonly sessions: number; readonly associations: number } {
    const sent = { sessions: 0, associations: 0 }
    let commands: PlaneCommand[] = []
    for (const command of this.hands.host.restore()) {
      if (command.type === 'install-session') sent.sessions++
      if (command.type === 'install-association') sent.associations++
      if (commands.push(command) < COMMANDS_TOGETHER) continue
      this.post(commands)
      commands = []
    }
    if (commands.length > 0) this.post(commands)
    return sent
  }

  /** Why, how often, and what goes on and what is lost; then, when the new one is at work, how long there was none. */
  private noteRestart(failure: Error, { sessions, associations }: ReturnType<typeof this.restore>): void {
    const { clock, log } = this.hands
    const { restarts: before, limit, place, worker } = this
    const since = clock.now()
    this.restarts = before + 1
    this.lastRestart = { at: clock.wallClock(), reason: failure.message, ...place }
    log.error('the data plane died and is started anew', {
      ...place,
      ...this.whyOf(failure),
      restarts: this.restarts,
      recent: `${limit.recent} of at most ${MOST_RESTARTS} within ${RESTARTS_WITHIN_MS / 1000} s`,
      sessionsKept: sessions,
      associationsKept: associations,
    })
    worker.once('message', ({ stats }: WorkerReport) => {
      const milliseconds = Math.round(clock.now() - since)
      if (worker !== this.worker) return
      log.info('the data plane is at work again', { ...place, milliseconds, ...flowFacts(stats?.translator?.restored) })
    })
  }

  /** For the log: of what the worker threw also where. */
  private whyOf(failure: Error): { readonly reason: string; readonly stack?: string | undefined } {
    return { reason: failure.message, ...(this.thrown === failure && { stack: failure.stack }) }
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
