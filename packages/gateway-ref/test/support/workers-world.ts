// Several data planes as workers of one, in one thread: memory in place of UDP and of the device's queues, real DTLS. The port
// that a client sends to chooses the worker.
import { encodeDatagramFrame, FrameType } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { udpDestinationPort, udpSourcePort } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { packetView, udpPacket } from '@twinbore/core/testing'
import { DtlsAssociation } from '@twinbore/dtls'
import { nodeCrypto } from '@twinbore/dtls/io'
import { allocateTranslatorMemory, type TranslatorMemory } from '@twinbore/pat'
import type { PlaneCommand } from '../../src/data-plane/commands.ts'
import { sequenceCells } from '../../src/data-plane/datagram-side.ts'
import { DataPlaneEngine, type PlaneSettings } from '../../src/data-plane/engine.ts'
import type { PlaneEvent } from '../../src/data-plane/events.ts'
import type { RoamingStats } from '../../src/data-plane/mesh/roaming-clients.ts'
import { allocateMesh, SessionPlaces, WorkerMesh } from '../../src/data-plane/mesh/worker-mesh.ts'
import { Carrier, trafficCells } from '../../src/data-plane/session-table.ts'
import { MemoryNetwork, type MemorySocket } from './memory-socket.ts'
import { type PacketFacts, PacketHost, readPacket } from './packet-host.ts'

export const outside = '203.0.113.7'
export const server = '192.0.2.9'
export const clientAddress = '198.51.100.7'
export const key = new Uint8Array(32).fill(7)
const appId = (session: number) => new Uint8Array(32).fill(session + 1)
export const leaseOf = (session: number) => `10.77.0.${session + 5}`
export const portRange = { first: 20_000, last: 20_899 }

export class WorkersWorld {
  readonly udp = new MemoryNetwork()
  readonly devices: PacketHost[] = []
  readonly sockets: MemorySocket[] = []
  readonly engines: DataPlaneEngine[] = []
  readonly woken: number[] = []
  /** What workers have told, by worker. */
  readonly events: { worker: number; event: PlaneEvent }[] = []
  now = 0
  readonly onStream: { worker: number; session: number; packet: PacketFacts }[] = []
  readonly places: SessionPlaces
  private readonly settings: PlaneSettings
  private readonly memory: ReturnType<typeof allocateMesh>
  private readonly sequences: Float64Array[] = []
  private readonly translations: TranslatorMemory[] = []
  private clients = 0

  constructor(workers: number, mode: 'translate' | 'kernel' = 'translate') {
    this.settings = {
      capacity: 8,
      maxAssociations: 8,
      translation: mode === 'translate' ? { outsideAddresses: [outside], portRange } : undefined,
      destinations: { pools: ['10.77.0.0/24'], ownAddresses: [], allowed: [] },
      gatewayAddresses: {},
      mtu: 1400,
    }
    this.memory = allocateMesh(Math.max(2, workers), 8)
    this.places = new SessionPlaces(this.memory)
    for (let self = 0; self < workers; self++) {
      const socket = this.udp.open('192.0.2.1', 4430 + self)
      socket.stats = () => ({}) as ReturnType<MemorySocket['stats']>
      this.sockets.push(socket)
      this.devices.push(new PacketHost())
      this.sequences.push(new Float64Array(sequenceCells(8)))
      this.translations.push(allocateTranslatorMemory())
      this.engines.push(this.start(self, workers > 1))
    }
  }

  start(self: number, hasMesh = true): DataPlaneEngine {
    return new DataPlaneEngine(this.settings, {
      device: this.devices[self]!.device,
      socket: this.sockets[self]!,
      crypto: nodeCrypto,
      random: seededRandom(self),
      totals: new Float64Array(trafficCells(8)),
      sequences: this.sequences[self]!,
      translations: { memory: this.translations[self]!, now: this.now },
      mesh: hasMesh ? new WorkerMesh(this.memory, self, worker => this.woken.push(worker)) : undefined,
      sendOnStream: (session, bytes, offset, length) =>
        this.onStream.push({ worker: self, session, packet: readPacket(bytes.slice(offset, offset + length)) }),
    })
  }

  command(...commands: PlaneCommand[]): void {
    for (const engine of this.engines)
      for (const command of commands) engine.handleCommand(structuredClone(command), this.now)
  }

  /** A session with a client whose datagrams arrive at a worker. */
  connect(session: number, worker: number, { port, before }: ConnectOptions = {}): TestClient {
    if (!this.installed.has(session)) this.install(session)
    const client = new TestClient(this, session, worker, port ?? 40_000 + this.clients++, before)
    this.command({ type: 'set-carrier', session, carrier: Carrier.datagram })
    return client
  }

  readonly installed = new Set<number>()
  install(session: number): void {
    this.installed.add(session)
    this.command(...this.commandsOf(session))
  }

  private commandsOf(session: number): PlaneCommand[] {
    const entry = { ipv4: IpAddress.of(leaseOf(session)).bytes, mtu: 1300 }
    return [
      { type: 'install-session', session, entry },
      { type: 'permit', session, appId: appId(session), key },
      { type: 'set-carrier', session, carrier: Carrier.stream },
    ]
  }

  /** Lets everything through, wherever it waits. */
  pump(): void {
    for (let round = 0; round < 4; round++) {
      for (const engine of this.engines) {
        while (!engine.pumpSocket(1, this.now));
        while (!engine.pumpDevice(1, this.now));
        while (!engine.pumpMesh(1, this.now));
        for (let event = engine.poll(); event; event = engine.poll()) {
          this.events.push({ worker: this.engines.indexOf(engine), event })
        }
      }
    }
  }

  /** What came out of the device's queues, the newest of all. */
  sent(): { worker: number; packet: PacketFacts }[] {
    this.pump()
    return this.devices.flatMap(({ received }, worker) => received.splice(0).map(packet => ({ worker, packet })))
  }

  /** A packet from a stream channel, taken by a worker. */
  fromStream(session: number, worker: number, packet: Uint8Array): void {
    const engine = this.engines[worker]!
    engine.fromStreams.reset()
    engine.fromStreams.push(packet, session)
    engine.handleStreamPackets(engine.fromStreams, this.now)
  }

  /** Another worker in the place of one that died, told what the control plane knows, after what comes `first`. */
  replace(self: number, { withAssociations = true, first = [] }: ReplaceOptions = {}): void {
    const engine = this.start(self)
    this.engines[self] = engine
    for (const command of first) engine.handleCommand(command, this.now)
    for (const session of this.installed) {
      for (const command of this.commandsOf(session)) engine.handleCommand(command, this.now)
    }
    const told = this.events.flatMap(({ worker, event }) => (worker === self ? [event] : []))
    for (const event of withAssociations ? told : []) {
      if (event.type !== 'association-established') continue
      const { session, association } = event
      const moved = told.findLast(each => each.type === 'association-moved' && each.association === association)
      const port = moved?.type === 'association-moved' ? moved.port : event.port
      const { address, snapshot } = event
      engine.handleCommand({ type: 'install-association', session, snapshot: snapshot!, address, port }, this.now)
      engine.handleCommand({ type: 'set-carrier', session, carrier: Carrier.datagram }, this.now)
    }
    this.pump()
  }

  /** Of each worker, how many endpoints it knows as another one's. */
  sizes(): number[] {
    return this.engines.map((_, worker) => this.roaming(worker).endpoints)
  }

  roaming(worker: number): RoamingStats {
    return this.engines[worker]!.stats().roaming!
  }

  drops(): Record<string, number> {
    const sum: Record<string, number> = {}
    for (const engine of this.engines) {
      for (const [name, count] of Object.entries(engine.stats().drops)) sum[name] = (sum[name] ?? 0) + count
    }
    return sum
  }
}

interface ReplaceOptions {
  readonly withAssociations?: boolean
  readonly first?: readonly PlaneCommand[]
}

interface ConnectOptions {
  readonly port?: number
  /** Called before each flight of the handshake. */
  readonly before?: (client: TestClient) => void
}

export class TestClient {
  readonly association: DtlsAssociation
  private readonly world: WorkersWorld
  private socket: MemorySocket
  private endpoint: number

  constructor(
    world: WorkersWorld,
    session: number,
    worker: number,
    port: number,
    before?: (client: TestClient) => void,
  ) {
    this.world = world
    this.socket = world.udp.open(clientAddress, port)
    this.endpoint = this.socket.endpoints.intern('192.0.2.1', 4430 + worker)
    this.association = new DtlsAssociation({
      role: 'client',
      crypto: nodeCrypto,
      random: seededRandom(port),
      psk: { identity: 'psk', key },
      sessionId: appId(session),
    })
    this.association.start(world.now)
    for (let flight = 0; flight < 6; flight++) {
      before?.(this)
      this.drain()
      world.pump()
      this.take()
    }
  }

  /** From now on its datagrams leave from another port, or address, and arrive at another worker, or the same. */
  roam(worker: number, port: number, address: string = clientAddress): void {
    this.socket = this.world.udp.open(address, port)
    this.endpoint = this.socket.endpoints.intern('192.0.2.1', 4430 + worker)
  }

  send(packet: Uint8Array): void {
    this.sendRaw(this.record(packet))
  }

  /** The record of a packet, which is not sent. */
  record(packet: Uint8Array): Uint8Array {
    this.association.send(encodeDatagramFrame(FrameType.data, packet), this.world.now)
    const output = this.association.poll()
    if (output?.type !== 'transmit') throw new TypeError('no record')
    return output.bytes
  }

  sendRaw(datagram: Uint8Array): void {
    this.socket.sendTo(this.endpoint, datagram)
  }

  /** The packets that came since the last call. */
  take(): PacketFacts[] {
    for (const { bytes } of this.socket.waiting.splice(0)) this.association.handleDatagram(bytes, this.world.now)
    return this.drain().map(frame => readPacket(frame.slice(1)))
  }

  private drain(): Uint8Array[] {
    const received: Uint8Array[] = []
    for (let out = this.association.poll(); out; out = this.association.poll()) {
      if (out.type === 'transmit') this.sendRaw(out.bytes)
      else if (out.type === 'received') received.push(out.bytes)
    }
    return received
  }
}

export const query = (session: number, sourcePort = 4000) =>
  udpPacket({
    source: leaseOf(session),
    destination: server,
    sourcePort,
    destinationPort: 53,
    payload: Uint8Array.of(session),
  })

export const reply = (destination: string, destinationPort: number, payload: Uint8Array) =>
  udpPacket({ source: server, destination, sourcePort: 53, destinationPort, payload })

export const portsOf = ({ bytes, transportAt }: PacketFacts) => {
  const view = packetView(bytes)
  return { source: udpSourcePort(view, transportAt), destination: udpDestinationPort(view, transportAt) }
}
