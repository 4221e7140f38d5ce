import { PacketBatch, Verdict } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import { WakeSignal } from '@twinbore/tun/io'
import type { DeviceHandover } from '../../egress/egress.ts'
import type { PlaneCommand } from '../commands.ts'
import type { DataPlane, DataPlaneHost, PlaneRestart } from '../data-plane.ts'
import type { PlaneSettings, PlaneStats } from '../engine.ts'
import type { PlaneEvent } from '../events.ts'
import { AssociationNumbers } from '../mesh/association-numbers.ts'
import { Removals } from '../mesh/removals.ts'
import { allocateMesh, type MeshMemory, SessionPlaces } from '../mesh/worker-mesh.ts'
import { joinStats } from '../plane-stats.ts'
import type { Carrier, Traffic } from '../session-table.ts'
import { WorkerDriver, type WorkerDriverHands } from './worker-driver.ts'

export interface WorkersDriverHands extends Omit<WorkerDriverHands, 'device' | 'socket' | 'mesh' | 'wake'> {
  /** A queue of the device and the descriptor of a UDP socket for each worker; all sockets are bound to the same port. */
  readonly parts: readonly { readonly device: DeviceHandover; readonly socket: number | undefined }[]
}

/**
 * A data plane of several workers, each with a queue of the TUN, a UDP socket of the same port, and a slice of the ports for
 * translation. All of them know all sessions; which one has what of a session is in `SessionPlaces`. The kernel chooses where a
 * client's datagrams arrive, and so who owns its association.
 *
 * Each is replaced on its own when it dies; the others go on. For their host they are one: associations have numbers of the
 * whole, and a session is removed when all have removed it.
 */
export class WorkersDriver implements DataPlane {
  readonly driver = 'worker'
  readonly fromStreams: PacketBatch
  private readonly hands: WorkersDriverHands
  private readonly translates: boolean
  private readonly places: SessionPlaces
  private readonly numbers: AssociationNumbers
  private readonly removals: Removals
  private readonly wakes: readonly WakeSignal[]
  private drivers: readonly WorkerDriver[] = []
  private hasFailed = false
  private isStopped = false

  private constructor(settings: PlaneSettings, hands: WorkersDriverHands, memory: MeshMemory) {
    const { workers } = memory
    this.hands = hands
    this.translates = settings.translation !== undefined
    this.places = new SessionPlaces(memory)
    this.numbers = new AssociationNumbers(workers, settings.capacity)
    this.removals = new Removals(workers)
    this.wakes = hands.parts.map(() => WakeSignal.open())
    this.fromStreams = new PacketBatch({ slotBytes: Math.max(2048, settings.mtu) })
  }

  /** Resolves when all workers are at work. @throws GatewayError `ERR_GATEWAY_HOST` */
  static async start(settings: PlaneSettings, hands: WorkersDriverHands): Promise<WorkersDriver> {
    const memory = allocateMesh(hands.parts.length, settings.capacity)
    const driver = new WorkersDriver(settings, hands, memory)
    const { wakes } = driver
    const { parts, ...shared } = hands
    const started = await Promise.allSettled(
      parts.map(({ device, socket }, self) =>
        WorkerDriver.start(settings, {
          ...shared,
          host: driver.hostOf(self),
          device,
          socket,
          mesh: { memory, self, wakes: wakes.map(({ descriptor }) => descriptor) },
          wake: wakes[self]!,
        }),
      ),
    )
    driver.drivers = started.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
    const failed = started.find(result => result.status === 'rejected')
    if (failed) {
      await driver.stop()
      throw failed.reason
    }
    return driver
  }

  get workers(): number {
    return this.hands.parts.length
  }

  get restarts(): number {
    return this.drivers.reduce((sum, { restarts }) => sum + restarts, 0)
  }

  get lastRestart(): PlaneRestart | undefined {
    const restarts = this.drivers.flatMap(({ lastRestart }) => lastRestart ?? [])
    return restarts.sort((a, b) => b.at - a.at)[0]
  }

  command(command: PlaneCommand): void {
    switch (command.type) {
      case 'close-association': {
        const { worker, number } = this.numbers.split(command.association)
        this.drivers[worker]!.command({ ...command, association: number })
        break
      }
      case 'send-control-frame': {
        const owner = this.places.ownerOf(command.session)
        if (owner !== -1) this.drivers[owner]!.command(command)
        break
      }
      case 'remove-session':
        this.removals.begin(command.session)
        for (const driver of this.drivers) driver.command(command)
        break
      default:
        for (const driver of this.drivers) driver.command(command)
    }
  }

  handleStreamPackets(batch: PacketBatch): void {
    let worker = -1
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const next = this.workerOfStream(batch.owners[slot]!)
      if (worker !== -1 && next !== worker) this.drivers[worker]!.publishStreamPackets()
      worker = next
      this.drivers[worker]!.pushStreamPacket(batch, slot)
    }
    if (worker !== -1) this.drivers[worker]!.publishStreamPackets()
  }

  traffic(session: number, carrier: Carrier): Traffic {
    const sum = { packetsReceived: 0, bytesReceived: 0, packetsSent: 0, bytesSent: 0 }
    for (const driver of this.drivers) {
      const { packetsReceived, bytesReceived, packetsSent, bytesSent } = driver.traffic(session, carrier)
      sum.packetsReceived += packetsReceived
      sum.bytesReceived += bytesReceived
      sum.packetsSent += packetsSent
      sum.bytesSent += bytesSent
    }
    return sum
  }

  stats(): PlaneStats {
    return joinStats(this.drivers.map(driver => driver.stats()))
  }

  async stop(): Promise<void> {
    if (this.isStopped) return
    this.isStopped = true
    await Promise.all(this.drivers.map(driver => driver.stop()))
    // Only now: until here one could have woken another by a descriptor that is somebody else's.
    for (const wake of this.wakes) wake.close()
  }

  /** Where its packets leave from: no need to hand them on. */
  private workerOfStream(session: number): number {
    const place = this.translates ? this.places.homeOf(session) : this.places.ownerOf(session)
    return place === -1 ? session % this.drivers.length : place
  }

  /** What one of the workers takes for its control plane. */
  private hostOf(worker: number): DataPlaneHost {
    const { host } = this.hands
    return {
      handleEvent: (event, now) => this.handleEvent(worker, event, now),
      sendOnStream: (session, bytes, offset, length) => host.sendOnStream(session, bytes, offset, length),
      restore: () => this.restore(worker),
      handleFailure: error => {
        if (this.hasFailed) return
        this.hasFailed = true
        host.handleFailure(error)
      },
    }
  }

  private handleEvent(worker: number, event: PlaneEvent, now: Milliseconds): void {
    const { host } = this.hands
    switch (event.type) {
      case 'session-removed':
        if (!this.removals.note(event.session, worker)) return
        this.numbers.forget(event.session)
        this.places.forget(event.session)
        host.handleEvent(event, now)
        break
      case 'association-established': {
        const { session } = event
        const { association, previous } = this.numbers.establish(session, worker, event.association)
        // Both may have told at about the same time: the one that is told last is the newest for everybody.
        this.places.setOwner(session, worker)
        if (previous) {
          this.drivers[previous.worker]!.command({ type: 'close-association', session, association: previous.number })
        }
        const snapshot = event.snapshot && { snapshot: { ...event.snapshot, association } }
        host.handleEvent({ ...event, association, ...snapshot }, now)
        break
      }
      case 'association-closed': {
        const association = this.numbers.join(worker, event.association)
        this.numbers.close(event.session, association)
        host.handleEvent({ ...event, association }, now)
        break
      }
      case 'association-moved':
      case 'key-limit-near':
        host.handleEvent({ ...event, association: this.numbers.join(worker, event.association) }, now)
        break
      default:
        host.handleEvent(event, now)
    }
  }

  /** What a successor must know: all sessions, and the associations that were its predecessor's. */
  private *restore(worker: number): Iterable<PlaneCommand> {
    for (const command of this.hands.host.restore()) {
      if (command.type !== 'install-association') {
        yield command
        continue
      }
      const { worker: holder, number } = this.numbers.split(command.snapshot.association)
      if (holder === worker) yield { ...command, snapshot: { ...command.snapshot, association: number } }
    }
  }
}
