import {
  type ChannelKind,
  ClientSession,
  type ClientSessionOptions,
  type ClientSessionOutput,
  encodeDatagramFrame,
  FrameType,
  GatewaySession,
  type GatewaySessionOptions,
  type SessionOutput,
  type TunnelParameters,
  type TunnelSession,
} from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { earliest, type Milliseconds, type Random, seededRandom } from '@twinbore/core/runtime'
import { type LinkConditions, NetworkEmulator } from '@twinbore/core/testing'
import { type DatagramHand, SimulatedClientDtls, SimulatedGatewayDtls } from './simulated-dtls.ts'
import { SimulatedStream } from './simulated-stream.ts'

export interface WorldOptions {
  readonly seed: number
  readonly link?: Partial<LinkConditions>
  readonly streamLatencyMs?: number
  readonly parameters?: Partial<TunnelParameters>
  readonly client?: ClientSessionOptions
  readonly gateway?: GatewaySessionOptions
  /** Another program in the client's place. */
  readonly stockClient?: (parameters: TunnelParameters) => ClientPeer
  /** Another program in the gateway's place. */
  readonly stockGateway?: (parameters: TunnelParameters) => TunnelSession<SessionOutput>
}

/** What the world asks of a client. */
export type ClientPeer = TunnelSession<ClientSessionOutput> & Pick<ClientSession, 'reconnectFailed' | 'datagramFailed'>

type Side = 'client' | 'gateway'

/** What the receiving side of a flow saw. */
export interface FlowReport {
  /** The longest time between two packets that arrived, and when it began. */
  readonly longestGapMs: number
  readonly gapAt: number
  readonly sent: number
  readonly arrived: number
}

/** A line of the story: which side, when, what. */
export interface WorldEvent {
  readonly at: Milliseconds
  readonly side: Side
  readonly output: SessionOutput | ClientSessionOutput
}

/**
 * A client and a gateway session with everything between them in virtual time: a datagram link that misbehaves on demand
 * (core/testing), a stream that is in order and whole but may stall or be cut, handshakes of the datagram channel.
 */
export class TwoChannelWorld {
  now: Milliseconds = 0
  readonly link: NetworkEmulator
  readonly stream: SimulatedStream
  readonly client: ClientPeer
  readonly gateway: TunnelSession<SessionOutput>
  readonly events: WorldEvent[] = []
  readonly parameters: TunnelParameters
  private readonly random: Random
  private readonly clientDtls: SimulatedClientDtls
  private readonly gatewayDtls: SimulatedGatewayDtls
  private readonly tasks: { at: Milliseconds; run: () => void }[] = []
  private readonly flows: Flow[] = []

  constructor(options: WorldOptions) {
    this.random = seededRandom(options.seed ^ 0x5eed)
    this.link = new NetworkEmulator({ seed: options.seed, conditions: { latencyMs: 20, ...options.link } })
    this.stream = new SimulatedStream(this, options.streamLatencyMs ?? 20)
    this.parameters = { ...defaultParameters, ...options.parameters }
    this.client = options.stockClient?.(this.parameters) ?? new ClientSession(this.parameters, options.client ?? {}, 0)
    this.gateway =
      options.stockGateway?.(this.parameters) ?? new GatewaySession(this.parameters, options.gateway ?? {}, 0)
    const hand = (side: Side): DatagramHand => ({
      opened: () => this.feed(side, session => session.datagramOpened(MAX_PAYLOAD, this.now)),
      failed: () => this.client.datagramFailed('handshake-timeout', this.now),
      closed: () => this.feed(side, session => session.datagramClosed('closed-by-peer', this.now)),
      frame: bytes => this.receive(side, 'datagram', bytes),
      transmit: bytes => this.link.send(side === 'client' ? 'outbound' : 'inbound', bytes, this.now),
      later: (ms, run) => this.later(ms, run),
    })
    this.clientDtls = new SimulatedClientDtls(hand('client'))
    this.gatewayDtls = new SimulatedGatewayDtls(hand('gateway'))
    this.connectStream()
  }

  get time(): Milliseconds {
    return this.now
  }

  /** A number from 0 to below `bound`. */
  chance(bound: number): number {
    return (this.random.uint32() / 0x1_0000_0000) * bound
  }

  later(ms: Milliseconds, run: () => void): void {
    this.tasks.push({ at: this.now + ms, run })
  }

  /** Sends packets from one side to the other, one each `everyMs`, from now on. */
  flow(from: Side, everyMs: Milliseconds, bytes = 1000): Flow {
    const flow = new Flow(this.flows.length, from, this.now)
    this.flows.push(flow)
    const tick = () => {
      if (flow.stopped) return
      this.sendPacket(flow, bytes)
      this.later(everyMs, tick)
    }
    tick()
    return flow
  }

  advance(ms: Milliseconds): void {
    const end = this.now + ms
    for (;;) {
      const next = earliest(this.nextTask, this.link.deadline, this.client.deadline, this.gateway.deadline)
      if (next === undefined || next > end) break
      this.now = Math.max(this.now, next)
      this.step()
    }
    this.now = end
  }

  /** The channel changes of one side since a time, as `from>to`. */
  changes(side: Side, since = 0): string[] {
    const changes: string[] = []
    for (const event of this.events) {
      if (event.side !== side || event.at < since || event.output.type !== 'channel-changed') continue
      changes.push(`${event.output.from}>${event.output.to}`)
    }
    return changes
  }

  /** The whole story, for a failing test. */
  story(): string {
    return this.events
      .filter(({ output }) => output.type !== 'frame')
      .map(({ at, side, output }) => `${at.toFixed(1).padStart(9)} ${side.padEnd(7)} ${JSON.stringify(output)}`)
      .join('\n')
  }

  /** Connects a stream: the client after CONNECT, the gateway with it. */
  connectStream(): void {
    this.stream.connect({
      client: {
        frame: (type, payload) => this.receive('client', 'stream', encodeDatagramFrame(type, payload)),
        closed: () => this.feed('client', session => session.streamClosed('ended', this.now)),
      },
      gateway: {
        frame: (type, payload) => this.receive('gateway', 'stream', encodeDatagramFrame(type, payload)),
        closed: () => this.feed('gateway', session => session.streamClosed('ended', this.now)),
      },
    })
    this.feed('gateway', session => session.streamAttached(this.parameters, this.now))
    this.feed('client', session => session.streamAttached(this.parameters, this.now))
  }

  private get nextTask(): Milliseconds | undefined {
    let next: Milliseconds | undefined
    for (const task of this.tasks) if (next === undefined || task.at < next) next = task.at
    return next
  }

  private step(): void {
    // In the order of their times, and of their making when these are equal.
    const due = this.tasks.filter(task => task.at <= this.now).sort((a, b) => a.at - b.at)
    for (const task of due) this.tasks.splice(this.tasks.indexOf(task), 1)
    for (const task of due) task.run()
    this.link.handleDeadline(this.now)
    for (let out = this.link.poll(); out !== undefined; out = this.link.poll()) {
      if (out.direction === 'outbound') this.gatewayDtls.receive(out.bytes)
      else this.clientDtls.receive(out.bytes)
    }
    if (this.client.deadline !== undefined && this.client.deadline <= this.now) {
      this.feed('client', session => session.handleDeadline(this.now))
    }
    if (this.gateway.deadline !== undefined && this.gateway.deadline <= this.now) {
      this.feed('gateway', session => session.handleDeadline(this.now))
    }
    this.drain()
  }

  private feed(side: Side, input: (session: TunnelSession<ClientSessionOutput>) => void): void {
    input(side === 'client' ? this.client : this.gateway)
    this.drain()
  }

  private drain(): void {
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      this.events.push({ at: this.now, side: 'client', output: out })
      this.obeyClient(out)
    }
    for (let out = this.gateway.poll(); out !== undefined; out = this.gateway.poll()) {
      this.events.push({ at: this.now, side: 'gateway', output: out })
      this.obey('gateway', out)
    }
  }

  private obeyClient(output: ClientSessionOutput): void {
    if (output.type === 'reconnect-stream') this.reconnect(this.now + CONNECT_TIMEOUT_MS)
    else if (output.type === 'open-datagram') this.clientDtls.open()
    else this.obey('client', output)
  }

  private obey(side: Side, output: SessionOutput): void {
    if (output.type === 'frame') {
      if (output.channel === 'stream') this.stream.send(side, output.frameType, output.payload)
      else this.dtls(side).send(encodeDatagramFrame(output.frameType, output.payload))
    } else if (output.type === 'close-stream') this.stream.close(side)
    else if (output.type === 'close-datagram') this.dtls(side).close()
  }

  /** TLS and CONNECT: some round trips, or one SYN after the other while the network is dark. */
  private reconnect(giveUpAt: Milliseconds): void {
    this.later(this.stream.latencyMs * 8, () => {
      if (this.client.closed) return
      if (!this.stream.dark && !this.gateway.closed) {
        this.stream.replace()
        this.connectStream()
      } else if (this.gateway.closed && !this.stream.dark) {
        this.feed('client', () => this.client.reconnectFailed('refused', this.now))
      } else if (this.now >= giveUpAt) this.feed('client', () => this.client.reconnectFailed('timeout', this.now))
      else this.later(1000, () => this.reconnect(giveUpAt))
    })
  }

  private dtls(side: Side): SimulatedClientDtls | SimulatedGatewayDtls {
    return side === 'client' ? this.clientDtls : this.gatewayDtls
  }

  private sendPacket(flow: Flow, bytes: number): void {
    const session = flow.from === 'client' ? this.client : this.gateway
    flow.sent++
    const channel = session.activeChannel
    if (channel === 'none') return
    const packet = new Uint8Array(Math.min(bytes, session.mtu))
    new DataView(packet.buffer).setUint32(0, flow.index)
    if (channel === 'stream') this.stream.send(flow.from, FrameType.data, packet)
    else this.dtls(flow.from).send(encodeDatagramFrame(FrameType.data, packet))
    session.noteSent(channel, 1, packet.length, this.now)
    this.drain()
  }

  private receive(side: Side, channel: ChannelKind, frame: Uint8Array): void {
    const session = side === 'client' ? this.client : this.gateway
    const type = frame[0]!
    const payload = frame.subarray(1)
    if (type === FrameType.data) {
      session.noteReceived(channel, 1, payload.length, this.now)
      this.flows[new DataView(payload.buffer, payload.byteOffset).getUint32(0)]!.arrive(this.now)
    } else if (channel === 'stream') session.handleStreamFrame(type, payload, this.now)
    else session.handleDatagramFrame(type, payload, this.now)
    this.drain()
  }
}

/** One stream of packets in one direction. */
export class Flow {
  readonly index: number
  readonly from: Side
  stopped = false
  sent = 0
  private readonly began: Milliseconds
  private readonly arrivals: Milliseconds[] = []

  constructor(index: number, from: Side, began: Milliseconds) {
    this.index = index
    this.from = from
    this.began = began
  }

  arrive(now: Milliseconds): void {
    this.arrivals.push(now)
  }

  /** What arrived from `since` on. A flow that never starts again counts as gap up to `until`. */
  report(since: Milliseconds, until: Milliseconds): FlowReport {
    let last = Math.max(since, this.began)
    let longestGapMs = 0
    let gapAt = last
    let arrived = 0
    for (const at of [...this.arrivals, until]) {
      if (at < since) continue
      if (at > until) break
      if (at - last > longestGapMs) {
        longestGapMs = at - last
        gapAt = last
      }
      last = at
      arrived++
    }
    return { longestGapMs, gapAt, sent: this.sent, arrived: arrived - 1 }
  }
}

/** The longest plaintext of a record on a path with the MTU 1500. */
const MAX_PAYLOAD = 1435
const CONNECT_TIMEOUT_MS = 10_000

const timers = { dpdSeconds: 10, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const

const defaultParameters: TunnelParameters = {
  ipv4: { address: IpAddress.parse('192.168.77.2')!, netmask: IpAddress.parse('255.255.255.0')! },
  dns: { servers: [], searchDomains: [], splitDomains: [], tunnelAll: false },
  routes: { include: [], exclude: [] },
  mtu: 1434,
  baseMtu: 1500,
  stream: timers,
  datagram: { ...timers, port: 443, appId: new Uint8Array(32) },
  idleSeconds: 0,
  sessionSeconds: 3600,
  sessionRemainingSeconds: 3600,
  disconnectedSeconds: 300,
  clientBypass: false,
}
