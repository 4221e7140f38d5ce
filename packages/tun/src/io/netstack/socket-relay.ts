import type { NetStackStats } from '../../netstack/counters.ts'
import { NetStack } from '../../netstack/net-stack.ts'
import { defaultNetStackMtu, type NetStackOptions } from '../../netstack/options.ts'
import type { EchoMessage, NetStackEndpoint, NetStackOutput } from '../../netstack/outputs.ts'
import type { PacketDevice } from '../../packet-device.ts'
import { sequenceHash } from '../sequence-hash.ts'
import { DescriptorBudget } from './descriptor-budget.ts'
import { DialGate } from './dial-gate.ts'
import { EchoRelay } from './echo-relay.ts'
import { RelayCounters, type RelayHost } from './relay-host.ts'
import { defaultSocketRelayLimits, type SocketRelayLimits } from './relay-limits.ts'
import { StackDevice } from './stack-device.ts'
import { TcpRelay } from './tcp-relay.ts'
import { UdpRelay } from './udp-relay.ts'

/** How often is looked for what no event tells. */
const SWEEP_MS = 10_000
/** The packets of a usual batch. */
const HELD_DATAGRAMS = 64

/** What one host of the inside asks of the relay itself, at an address where it offers something. */
export interface RelayServices {
  /**
   * Where flows to `destination` go in its place; `undefined`: there. `mayReach` isn't asked about the place: it was chosen
   * on purpose. Answers seem to come from `destination`.
   */
  redirect?(destination: NetStackEndpoint, protocol: 'tcp' | 'udp'): NetStackEndpoint | undefined
  /** Takes a datagram in place of `remote`, and answers by `reply` any number of times. False: it is none of its business. */
  takeDatagram?(
    inside: NetStackEndpoint,
    remote: NetStackEndpoint,
    bytes: Uint8Array,
    reply: (bytes: Uint8Array) => void,
  ): boolean
  /** An inside address is gone; replies to it are in vain. */
  removeSource?(address: string): void
}

export interface SocketRelayOptions extends RelayServices {
  /**
   * Whether clients may reach an address: loopback, the host's own addresses and its neighbours' metadata services are all
   * within reach of its sockets, so this must refuse what isn't meant for clients. `isOwn`: the system says that the address
   * is one of this host, which a rule for everything does not cover.
   */
  readonly mayReach: (address: string, isOwn: boolean) => boolean
  /** As of `NetStack`; `acceptAnyDestination` is a matter of course. */
  readonly stack: Omit<NetStackOptions, 'acceptAnyDestination'>
  readonly limits?: Partial<SocketRelayLimits>
  /** The process has too many descriptors open for new flows; called at most once a sweep. */
  readonly onDescriptorsExhausted?: (admitted: number) => void
}

/** What there is now, and counters since creation. */
export interface SocketRelayStats extends Readonly<RelayCounters> {
  /** Sockets of TCP flows, dialling ones included. */
  readonly tcpSockets: number
  readonly udpSockets: number
  readonly pingSockets: number
  readonly stack: NetStackStats
}

/**
 * The flows of a tunnel end here and go on over ordinary sockets of this process: no privilege is needed, and their source
 * is the host's address.
 *
 *     tunnel <-> device <-> NetStack <-> TcpRelay  <-> net.Socket
 *                                    <-> UdpRelay  <-> dgram.Socket
 *                                    <-> EchoRelay <-> ping socket
 *
 * Read packets for the tunnel from `device`, and write those of the tunnel to it.
 *
 * @example
 * const relay = new SocketRelay({ mayReach: (address, isOwn) => !isOwn && isCorporate(address), stack: { random } })
 * relay.device.onReadable = () => { batch.reset(); relay.device.read(batch); ... }
 */
export class SocketRelay {
  readonly device: PacketDevice
  private readonly options: SocketRelayOptions
  private readonly stack: NetStack
  private readonly stackDevice: StackDevice
  private readonly host: RelayHost
  private readonly counters = new RelayCounters()
  private readonly gate: DialGate
  private readonly budget: DescriptorBudget
  private readonly echoes: EchoRelay
  /** By flow; only those that the stack knows. */
  private readonly tcp: Map<number, TcpRelay> = new Map()
  private readonly udp: Map<number, UdpRelay | undefined> = new Map()
  private readonly tcpSockets: Set<TcpRelay> = new Set()
  private readonly udpSockets: Set<UdpRelay> = new Set()
  private readonly sweeper: NodeJS.Timeout
  private wasExhausted = false

  constructor(options: SocketRelayOptions) {
    this.options = options
    const limits = { ...defaultSocketRelayLimits, ...options.limits }
    const mtu = options.stack.mtu ?? defaultNetStackMtu
    this.stack = new NetStack({
      keyedHash: sequenceHash(),
      ...options.stack,
      // A request is answered once its batch is read: a burst that begins a flow may be all of one.
      limits: { maxHeldDatagrams: HELD_DATAGRAMS, ...options.stack.limits },
      acceptAnyDestination: true,
    })
    this.stackDevice = new StackDevice(this.stack, { name: 'sockets', mtu })
    this.stackDevice.onOutput = (output, now) => this.handle(output, now)
    this.device = this.stackDevice
    this.host = {
      stack: this.stack,
      limits,
      counters: this.counters,
      now: () => this.stackDevice.now(),
      settle: () => this.stackDevice.settle(),
      mayReachOwn: address => options.mayReach(address, true),
    }
    this.gate = new DialGate(limits)
    this.budget = new DescriptorBudget(() => this.descriptors, limits.maxDescriptors)
    this.echoes = new EchoRelay(this.host, () => this.admits())
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS)
    this.sweeper.unref()
  }

  /** Whether the system lets this process ping; if not, clients are told that pings are prohibited. */
  get canPing(): boolean {
    return this.echoes.isAvailable
  }

  /** Ends everything of an inside address: its session is over. Those outside see resets. */
  removeSource(address: string): void {
    this.stack.removeSource(address, this.host.now())
    this.echoes.removeSource(address)
    this.options.removeSource?.(address)
    this.stackDevice.settle()
  }

  stats(): SocketRelayStats {
    return {
      ...this.counters,
      tcpSockets: this.tcpSockets.size,
      udpSockets: this.udpSockets.size,
      pingSockets: this.echoes.size,
      stack: this.stack.stats(),
    }
  }

  /** Closes every socket. */
  close(): void {
    clearInterval(this.sweeper)
    this.stackDevice.close()
    for (const relay of this.tcpSockets) relay.destroy()
    for (const relay of this.udpSockets) relay.close()
    this.echoes.close()
  }

  private get descriptors(): number {
    return this.tcpSockets.size + this.udpSockets.size + (this.echoes?.size ?? 0)
  }

  private handle(output: NetStackOutput, now: number): void {
    switch (output.type) {
      case 'flow-requested':
        if (output.protocol === 'tcp') this.dial(output.flow, output.source, output.destination, now)
        else this.stack.accept(output.flow, now)
        break
      case 'flow-readable':
        this.tcp.get(output.flow)?.upload()
        break
      case 'flow-writable':
        this.tcp.get(output.flow)?.resume()
        break
      case 'flow-ended':
        this.tcp.get(output.flow)?.end()
        break
      case 'flow-reset':
        this.tcp.get(output.flow)?.reset()
        break
      case 'flow-closed':
        this.forget(output.flow)
        break
      case 'datagram':
        this.sendDatagram(output.flow, output.remote, output.bytes, now)
        break
      case 'echo-requested':
        this.ping(output, now)
        break
      case 'flow-established':
      case 'icmp-error':
      case 'echo-replied':
        break
    }
  }

  private dial(flow: number, source: NetStackEndpoint, destination: NetStackEndpoint, now: number): void {
    const { stack, counters, gate } = this
    const redirected = this.options.redirect?.(destination, 'tcp')
    if (!redirected && !this.options.mayReach(destination.address, false)) {
      counters.destinationsRefused++
      stack.refuse(flow, 'admin-prohibited', now)
      return
    }
    if (!this.admits()) {
      stack.refuse(flow, 'host-unreachable', now)
      return
    }
    const target = redirected ?? destination
    if (!gate.enter(source.address, target.address)) {
      counters.dialLimitHits++
      stack.refuse(flow, 'silent', now)
      return
    }
    counters.dials++
    const relay: TcpRelay = new TcpRelay(this.host, {
      flow,
      source,
      destination,
      target,
      isOwnAllowed: redirected !== undefined,
      onDialEnd: () => gate.leave(source.address, target.address),
      onClose: () => this.tcpSockets.delete(relay),
    })
    this.tcp.set(flow, relay)
    this.tcpSockets.add(relay)
  }

  private sendDatagram(flow: number, remote: NetStackEndpoint, bytes: Uint8Array, now: number): void {
    const { stack, counters } = this
    // What only talks to the relay itself has no socket.
    if (!this.udp.has(flow)) this.udp.set(flow, undefined)
    if (this.options.takeDatagram) {
      const { inside } = stack.endpoints(flow)
      const reply = (answer: Uint8Array): void => this.replyDatagram(flow, inside, remote, answer)
      if (this.options.takeDatagram(inside, remote, bytes, reply)) return
    }
    const redirected = this.options.redirect?.(remote, 'udp')
    if (!redirected && !this.options.mayReach(remote.address, false)) {
      counters.destinationsRefused++
      stack.refuseDatagram(flow, remote, 'admin-prohibited', now)
      return
    }
    const relay = this.udp.get(flow) ?? this.openUdp(flow, remote)
    if (relay) relay.send(remote, bytes, redirected)
    else stack.refuseDatagram(flow, remote, 'host-unreachable', now)
  }

  /** The flow may have ended meanwhile, and its id be another one's. */
  private replyDatagram(flow: number, inside: NetStackEndpoint, remote: NetStackEndpoint, bytes: Uint8Array): void {
    if (!this.udp.has(flow)) return
    const known = this.stack.endpoints(flow).inside
    if (known.port !== inside.port || known.address !== inside.address) return
    this.stack.sendDatagram(flow, remote, bytes, this.host.now())
    this.stackDevice.settle()
  }

  private openUdp(flow: number, remote: NetStackEndpoint): UdpRelay | undefined {
    if (!this.admits()) return undefined
    const relay: UdpRelay = new UdpRelay(this.host, flow, remote.address.includes(':') ? 6 : 4, () => {
      this.udpSockets.delete(relay)
      if (this.udp.get(flow) === relay) this.udp.set(flow, undefined)
    })
    this.udp.set(flow, relay)
    this.udpSockets.add(relay)
    return relay
  }

  private ping(message: EchoMessage, now: number): void {
    if (this.options.mayReach(message.destination, false)) {
      this.echoes.request(message)
      return
    }
    this.counters.destinationsRefused++
    this.stack.refuseEcho(message, 'admin-prohibited', now)
  }

  private forget(flow: number): void {
    this.tcp.get(flow)?.flowClosed()
    this.tcp.delete(flow)
    const relay = this.udp.get(flow)
    this.udp.delete(flow)
    relay?.close()
  }

  private admits(): boolean {
    if (this.budget.hasRoom) return true
    this.counters.descriptorLimitHits++
    if (!this.wasExhausted) this.options.onDescriptorsExhausted?.(this.budget.admitted)
    this.wasExhausted = true
    return false
  }

  private sweep(): void {
    this.budget.look()
    this.wasExhausted = false
    for (const relay of this.tcpSockets) relay.sweep()
    this.echoes.sweep()
  }
}
