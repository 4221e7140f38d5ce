import { dropReasonName, type PacketBatch, type PacketBatchOptions } from '@twinbore/core/packet'
import { earliest, type Machine, type Milliseconds, OutputQueue, type Random } from '@twinbore/core/runtime'
import type { CryptoProvider, DtlsStats } from '@twinbore/dtls'
import { defaultPatOptions, type KeptState, type PatOptions, type PatStats, Translator } from '@twinbore/pat'
import type { DatagramSocket, DatagramSocketStats, PacketDevice, PacketDeviceStats } from '@twinbore/tun'
import { ActivityLedger } from './activity.ts'
import type { DestinationPolicy, PlaneCommand } from './commands.ts'
import { DatagramSide } from './datagram-side.ts'
import { destinationsOf } from './denied-destinations.ts'
import type { PlaneEvent } from './events.ts'
import { GatewayDataPlane } from './gateway-data-plane.ts'
import { PortSlices } from './mesh/port-slices.ts'
import type { RoamingStats } from './mesh/roaming-clients.ts'
import { Steering } from './mesh/steering.ts'
import type { WorkerMesh } from './mesh/worker-mesh.ts'
import { RateLimits } from './rate-limits.ts'
import { SessionPermissions } from './session-permissions.ts'
import { SessionTable } from './session-table.ts'

/** What a data plane is, in plain values: the same for one of another thread. Addresses are 4 or 16 bytes. */
export interface PlaneSettings {
  /** Sessions are numbered below this. */
  readonly capacity: number
  readonly maxAssociations: number
  /** Absent when the kernel translates, or nobody. */
  readonly translation: Omit<PatOptions, 'random'> | undefined
  readonly destinations: DestinationPolicy
  /** Sources of ICMP errors: the gateway's addresses inside the pool. */
  readonly gatewayAddresses: { readonly ipv4?: Uint8Array | undefined; readonly ipv6?: Uint8Array | undefined }
  /** The longest packet of the tunnels. */
  readonly mtu: number
  /** How long traffic may go untold; 0 tells it after every pump. @defaultValue 0 */
  readonly activityIntervalMs?: Milliseconds
}

/** What a data plane has hold of. */
export interface PlaneHands {
  /** Towards the corporate network. */
  readonly device: PacketDevice
  /** Absent without datagram channels. */
  readonly socket: DatagramSocket | undefined
  readonly crypto: CryptoProvider
  readonly random: Random
  /** Where traffic is counted: `trafficCells(capacity)` numbers. */
  readonly totals: Float64Array
  /** Where sequence numbers are noted for a successor, `sequenceCells(maxAssociations)` numbers. @defaultValue nowhere */
  readonly sequences?: Float64Array | undefined
  /** Where the translator keeps its mappings for a successor, and finds those of a predecessor. @defaultValue nowhere */
  readonly translations?: KeptState | undefined
  /** The other workers, when it is one of several: then it has its slice of the ports only. @defaultValue it is alone */
  readonly mesh?: WorkerMesh | undefined
  /** Sends a packet on a session's stream channel. The bytes are the batch's and must be copied. */
  readonly sendOnStream: (session: number, bytes: Uint8Array, offset: number, length: number) => void
}

/** Counts of a data plane since its start. */
export interface PlaneStats {
  readonly sessions: number
  /** Dropped packets by the name of the reason; reasons without drops are absent. */
  readonly drops: Readonly<Record<string, number>>
  readonly device: PacketDeviceStats
  readonly socket: DatagramSocketStats | undefined
  readonly datagram: DtlsStats | undefined
  readonly translator: PatStats | undefined
  /** Clients that moved from worker to worker, where there are several. */
  readonly roaming: RoamingStats | undefined
}

/**
 * A gateway's data plane, as a kernel offload would be: it is driven by commands, tells events, and knows nothing of
 * logins, cookies, leases or timers of sessions. It never waits and has no loop: whoever drives it watches socket and
 * device, pumps what is ready, and keeps its deadline.
 *
 *     command ->  sessions, permits, policy           -> event
 *     socket  <-> DTLS <-> guard, translator, MTU gate <-> device
 *     `pumpMesh`: what other workers of the same data plane hand over
 *     stream packets in: `fromStreams`, `handleStreamPackets`        stream packets out: `sendOnStream`
 */
export class DataPlaneEngine implements Machine<PlaneEvent> {
  /** Packets and datagrams that came in so far, for drivers that pace themselves. */
  packetsHandled = 0
  /** Where stream channels put their packets, with sessions as owners. */
  readonly fromStreams: PacketBatch
  private readonly hands: PlaneHands
  private readonly sessions: SessionTable
  private readonly rates: RateLimits
  private readonly permissions: SessionPermissions
  private readonly plane: GatewayDataPlane
  private readonly datagrams: DatagramSide | undefined
  private readonly translator: Translator | undefined
  private readonly events = new OutputQueue<PlaneEvent>()
  private readonly activity: ActivityLedger

  constructor(settings: PlaneSettings, hands: PlaneHands) {
    this.hands = hands
    const { events } = this
    const { device, socket, crypto, random, sequences, translations, mesh } = hands
    this.sessions = new SessionTable(settings.capacity, hands.totals)
    this.rates = new RateLimits(settings.capacity)
    this.permissions = new SessionPermissions(settings.capacity)
    this.activity = new ActivityLedger(this.sessions, settings.activityIntervalMs ?? 0)
    const { sessions } = this
    const { maxAssociations, translation } = settings
    const slices = translation && mesh && slicesOf(translation, mesh)
    this.translator =
      translation && new Translator({ ...translation, ...(mesh && shareOf(translation, mesh)), random }, translations)
    const batch = batchOptions(settings, device)
    this.datagrams =
      socket && new DatagramSide({ socket, sessions, events, crypto, random, maxAssociations, sequences, mesh, batch })
    this.plane = new GatewayDataPlane({
      sessions,
      rates: this.rates,
      permissions: this.permissions,
      device,
      outlets: {
        sendOnStream: hands.sendOnStream,
        handleControlFrame: (session, frameType, payload) =>
          events.push({ type: 'control-frame', session, frameType, payload }),
      },
      path: this.datagrams?.path,
      translator: this.translator,
      destinations: destinationsOf(settings.destinations),
      gatewayAddresses: settings.gatewayAddresses,
      batch,
      mesh: mesh && {
        worker: mesh,
        steering: slices && new Steering(slices, mesh.fragments),
        roaming: this.datagrams?.roaming,
      },
      onTranslatorEvent: output => {
        if (output.type !== 'packet') events.push({ type: 'translator', output })
      },
    })
    this.fromStreams = this.plane.fromStreams
  }

  /** Packets that left on datagram channels so far. */
  get packetsSent(): number {
    return this.plane.tunnels.packetsSent
  }

  /** Takes up to `budget` batches of datagrams. Returns whether the socket was drained. */
  pumpSocket(budget: number, now: Milliseconds): boolean {
    let drained = false
    for (let batch = 0; batch < budget && !drained; batch++) {
      drained = this.plane.pumpSocket(now)
      this.packetsHandled += this.plane.tunnels.received.count
      this.datagrams?.settle(now)
    }
    this.collect(now)
    return drained
  }

  /** Takes up to `budget` batches of packets from the device. Returns whether it was drained. */
  pumpDevice(budget: number, now: Milliseconds): boolean {
    let drained = false
    for (let batch = 0; batch < budget && !drained; batch++) {
      drained = this.plane.pumpDevice(now)
      this.packetsHandled += this.plane.fromDevice.count
    }
    this.datagrams?.settle(now)
    this.collect(now)
    return drained
  }

  /** Takes up to `budget` times what other workers have handed over. Returns whether that was all. */
  pumpMesh(budget: number, now: Milliseconds): boolean {
    let drained = false
    for (let batch = 0; batch < budget && !drained; batch++) {
      drained = this.plane.pumpMesh(now)
      this.packetsHandled += this.plane.handedOver
    }
    this.datagrams?.settle(now)
    this.collect(now)
    return drained
  }

  /** Packets that came through stream channels; `batch` is used up. */
  handleStreamPackets(batch: PacketBatch, now: Milliseconds): void {
    this.packetsHandled += batch.count
    this.plane.handleStreamPackets(batch, now)
    this.collect(now)
  }

  handleCommand(command: PlaneCommand, now: Milliseconds): void {
    const { sessions, datagrams } = this
    switch (command.type) {
      case 'install-session':
        this.permissions.set(command.session, command.entry.permissions)
        sessions.install({ ...command.entry, keepsTraffic: command.isRestored ?? false }, command.session)
        break
      case 'remove-session':
        this.removeSession(command.session, now)
        break
      case 'set-carrier':
        if (sessions.has(command.session)) sessions.carriers[command.session] = command.carrier
        break
      case 'set-mtu':
        if (sessions.has(command.session)) sessions.mtus[command.session] = command.mtu
        break
      case 'set-rate':
        if (sessions.has(command.session)) this.rates.set(command.session, command.rate)
        break
      case 'set-permissions':
        if (sessions.has(command.session)) this.permissions.set(command.session, command.permissions)
        break
      case 'set-destinations':
        this.plane.setDestinations(destinationsOf(command.destinations))
        break
      case 'permit':
        if (sessions.has(command.session)) datagrams?.permits.set(command.session, command.appId, command.key)
        break
      case 'forbid':
        datagrams?.permits.delete(command.session)
        break
      case 'install-association':
        if (sessions.has(command.session)) datagrams?.install(command, now)
        break
      case 'close-association':
        datagrams?.close(command.session, command.association, now)
        break
      case 'send-control-frame':
        this.sendControlFrame(command.session, command, now)
        break
      case 'remove-inside':
        this.translator?.removeInside(command.address, now)
        this.plane.drainTranslator(now)
        break
      case 'drain':
        datagrams?.permits.clear()
        break
    }
  }

  get deadline(): Milliseconds | undefined {
    return earliest(this.datagrams?.deadline, this.translator?.deadline, this.activity.deadline, this.plane.deadline)
  }

  handleDeadline(now: Milliseconds): void {
    this.datagrams?.handleDeadline(now)
    this.plane.handleDeadline(now)
    if (this.translator) {
      this.translator.handleDeadline(now)
      this.plane.drainTranslator(now)
      this.collect(now)
    }
    this.hands.mesh?.publish()
    this.tellDue(now)
  }

  poll(): PlaneEvent | undefined {
    return this.events.take()
  }

  stats(): PlaneStats {
    const { device, socket } = this.hands
    const drops: Record<string, number> = {}
    for (const [reason, count] of this.plane.drops().entries()) if (count > 0) drops[dropReasonName(reason)] = count
    return {
      sessions: this.sessions.size,
      drops,
      device: device.stats(),
      socket: socket?.stats(),
      datagram: this.datagrams?.stats(),
      translator: this.translator?.stats(),
      roaming: this.datagrams?.roaming?.stats(),
    }
  }

  private collect(now: Milliseconds): void {
    this.hands.mesh?.publish()
    this.activity.collect(now)
    this.tellDue(now)
  }

  private tellDue(now: Milliseconds): void {
    const due = this.activity.deadline
    if (due === undefined || now < due) return
    const table = this.activity.take(now)
    if (table) this.events.push({ type: 'activity', table })
  }

  private removeSession(session: number, now: Milliseconds): void {
    const { sessions, datagrams } = this
    datagrams?.permits.delete(session)
    datagrams?.close(session, sessions.associations[session] ?? -1, now)
    sessions.remove(session)
    this.rates.set(session)
    this.permissions.set(session, undefined)
    this.activity.forget(session)
    this.events.push({ type: 'session-removed', session })
  }

  private sendControlFrame(
    session: number,
    { frameType, payload }: PlaneCommand & { readonly type: 'send-control-frame' },
    now: Milliseconds,
  ): void {
    const association = this.sessions.associations[session] ?? -1
    if (!this.datagrams || association === -1) return
    this.plane.tunnels.sendControlFrame(association, frameType, payload, this.datagrams.path, now)
    this.datagrams.settle(now)
  }
}

/** How the ports are shared out. @throws RangeError when there are too few */
export function slicesOf(
  { portRange = defaultPatOptions.portRange }: Pick<PatOptions, 'portRange'>,
  { workers }: Pick<WorkerMesh, 'workers'>,
): PortSlices {
  return new PortSlices(portRange, workers)
}

/** What a translator may give out, when there is one in each worker. */
function shareOf(translation: NonNullable<PlaneSettings['translation']>, mesh: WorkerMesh): Partial<PatOptions> {
  const { icmpErrorsPerSecond = defaultPatOptions.icmpErrorsPerSecond } = translation
  return {
    portRange: slicesOf(translation, mesh).sliceOf(mesh.self),
    icmpErrorsPerSecond: Math.ceil(icmpErrorsPerSecond / mesh.workers),
  }
}

/** Room for a full record of a usual link in each slot of a batch. */
const LEAST_SLOT_BYTES = 2048

function batchOptions({ mtu }: PlaneSettings, device: PacketDevice): PacketBatchOptions {
  return { slotBytes: Math.max(LEAST_SLOT_BYTES, device.mtu, mtu) }
}
