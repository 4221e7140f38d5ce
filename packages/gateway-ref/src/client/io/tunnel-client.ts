import { hostname } from 'node:os'
import {
  type ActiveChannel,
  ClientSession,
  type ClientSessionOutput,
  CoreError,
  type FrameType,
  type ReconnectFailure,
  type TunnelParameters,
} from '@twinbore/core'
import { ControlClient, type Driver, drive, StreamChannel, systemClock, type TunnelConnection } from '@twinbore/core/io'
import type { Milliseconds } from '@twinbore/core/runtime'
import { type FlowDuplex, openDatagramSocket, type UdpSocket } from '@twinbore/tun/io'
import { EventEmitter } from 'eventemitter3'
import { Carrier, type SessionEntry } from '../../data-plane/session-table.ts'
import { streamCipher } from '../../data-plane/stream/io/stream-ciphers.ts'
import type { TunnelOutlets } from '../../data-plane/tunnel-side.ts'
import { GatewayError } from '../../errors.ts'
import type { RunnableTunnel } from '../../gateway.ts'
import { pumpWhileReadable } from '../../io/pump.ts'
import { type Logger, silentLogger } from '../../log/logger.ts'
import { CLIENT_ASSOCIATION, CLIENT_SESSION, ClientDataPlane } from '../client-data-plane.ts'
import type { ClientInterface, ConnectOptions, TunnelClientEvents } from '../client-options.ts'
import type { DialOptions } from '../network/io/dial.ts'
import type { ResolvedAddress } from '../network/io/resolver.ts'
import type { TunnelAgents } from '../network/io/tunnel-agents.ts'
import type { TunnelRequestInit } from '../network/io/tunnel-fetch.ts'
import type { CreateUdpSocketOptions, LookupOptions, TunnelNetwork } from '../network/io/tunnel-network.ts'
import { sameAddresses, tunnelRequest } from '../tunnel-request.ts'
import { ClientDatagrams } from './client-datagrams.ts'
import { systemInterface } from './system-interface.ts'

const carrierOf = { none: Carrier.none, stream: Carrier.stream, datagram: Carrier.datagram } as const

/** A client's tunnel: logs in, keeps both channels up, and moves packets between them and an interface. */
export class TunnelClient extends EventEmitter<TunnelClientEvents> implements RunnableTunnel, TunnelOutlets {
  readonly stopped: Promise<Error | undefined>
  private readonly options: ConnectOptions
  private readonly log: Logger
  private readonly control: ControlClient
  private readonly datagrams: ClientDatagrams
  private readonly abort = new AbortController()
  private started = false
  private cookie: { readonly cookie: string; readonly host?: string; readonly port?: number } | undefined
  private granted: TunnelConnection | undefined
  private session: ClientSession | undefined
  private driver: Driver | undefined
  private plane: ClientDataPlane | undefined
  private interface: ClientInterface | undefined
  private stream: StreamChannel | undefined
  /** Why the tunnel was ended from this side, when nobody asked for it. */
  private failure: GatewayError | undefined
  private resolveStopped!: (failure: Error | undefined) => void

  constructor(options: ConnectOptions) {
    super()
    this.options = options
    this.log = options.log ?? silentLogger
    this.control = new ControlClient({ recordCipher: streamCipher, ...options })
    this.datagrams = new ClientDatagrams(
      {
        onOpened: (path, maxPayload) => {
          if (this.plane) this.plane.path = path
          this.driver?.input(now => this.session?.datagramOpened(maxPayload, now))
        },
        onClosed: loss => {
          if (this.plane) this.plane.path = undefined
          this.driver?.input(now => this.session?.datagramClosed(loss, now))
        },
        onFailed: loss => this.driver?.input(now => this.session?.datagramFailed(loss, now)),
        onTooBig: bytes => this.driver?.input(now => this.session?.handleMessageTooBig(bytes, now)),
        pump: path => this.plane?.pumpPath(path, systemClock.now()) ?? true,
        settle: () => this.noteTraffic(systemClock.now()),
      },
      options.openDatagramSocket ?? openDatagramSocket,
      this.log,
    )
    this.stopped = new Promise(resolve => {
      this.resolveStopped = resolve
    })
  }

  get interfaceName(): string {
    return this.interface?.device.name ?? ''
  }

  /** Where data goes now. */
  get activeChannel(): ActiveChannel {
    return this.session?.activeChannel ?? 'none'
  }

  /** What the gateway granted last; `undefined` before `start`. */
  get parameters(): TunnelParameters | undefined {
    return this.granted?.parameters
  }

  /** The longest packet of the tunnel now. */
  get mtu(): number {
    return this.session?.mtu ?? 0
  }

  /** Packets and bytes that passed, by channel. */
  stats(): ReturnType<ClientSession['stats']> | undefined {
    return this.session?.stats()
  }

  /**
   * Connects to a host beyond the tunnel. The duplex is there at once, has the manners of `net.Socket`, and emits `connect`,
   * or `error` with the code that Node.js has for the failure (`ECONNREFUSED`, `ENOTFOUND`, ...). Names are looked up
   * through the tunnel; of several addresses the first to answer is taken (RFC 8305).
   *
   * @throws TypeError, RangeError for a host or a port that is none; TypeError when the tunnel's interface is not `stackInterface`
   */
  connect(options: DialOptions): FlowDuplex {
    return this.network.connect(options)
  }

  /** Looks a name up by the tunnel's name servers. Rejects with a code of `node:dns`: `ENOTFOUND`, `ENODATA`, `ESERVFAIL`, `EREFUSED`, `ETIMEOUT`. */
  lookup(name: string, options?: LookupOptions): Promise<readonly ResolvedAddress[]> {
    return this.network.lookup(name, options)
  }

  /**
   * `fetch` through the tunnel, with `tls` for whom to trust. Answers with what the standard says; the response is of the
   * class of undici, so `instanceof Response` is false.
   */
  fetch(input: string | URL | Request, init?: TunnelRequestInit): Promise<Response> {
    return this.network.fetch(input, init)
  }

  /** Agents for `node:http` and `node:https`, and for libraries that take such agents, whose connections go through the tunnel. */
  get agent(): TunnelAgents {
    return this.network.agent
  }

  /** A UDP socket with the tunnel's address. */
  createUdpSocket(options?: CreateUdpSocketOptions): UdpSocket {
    return this.network.createUdpSocket(options)
  }

  async start(): Promise<TunnelParameters> {
    if (this.started) throw new TypeError('a tunnel is started once')
    this.started = true
    const { credentials, cookie, datagram = true } = this.options
    const { signal } = this.abort
    try {
      this.cookie = cookie === undefined ? await this.control.login({ ...credentials, signal }) : { cookie }
      const request = tunnelRequest(hostname(), datagram)
      const connection = await this.control.connect({ ...this.cookie, request, signal })
      try {
        await this.begin(connection)
      } catch (error) {
        connection.socket.destroy()
        throw error
      }
      return connection.parameters
    } catch (error) {
      this.close()
      this.resolveStopped(undefined)
      throw error
    }
  }

  async stop(_options: { readonly immediately?: boolean } = {}): Promise<void> {
    this.abort.abort()
    const { session } = this
    if (session && !session.closed) this.driver?.input(now => session.disconnect('user-left', now))
    else if (!this.started) this.resolveStopped(undefined)
    await this.stopped
  }

  // Of the data plane.

  sendOnStream(_session: number, bytes: Uint8Array, offset: number, length: number): void {
    this.stream?.sendPacket(bytes, offset, length)
  }

  handleControlFrame(_session: number, type: FrameType, payload: Uint8Array, now: Milliseconds): void {
    this.session?.handleDatagramFrame(type, payload, now)
    this.driver?.settle()
  }

  private get network(): TunnelNetwork {
    const network = this.interface?.network
    if (network) return network
    if (!this.interface) throw new TypeError('the tunnel is not started')
    throw new TypeError("the tunnel's packets go to an interface: give connect() interface: stackInterface()")
  }

  private async begin(connection: TunnelConnection): Promise<void> {
    const { parameters, socket } = connection
    const makeInterface = this.options.interface ?? systemInterface({ log: this.log })
    this.interface = await makeInterface(parameters, connection.remoteAddress)
    if (this.abort.signal.aborted) throw new CoreError('ERR_ABORTED', 'the caller gave up')
    if (socket.destroyed) throw new CoreError('ERR_CONNECTION_FAILED', 'the gateway closed the connection')

    const { device } = this.interface
    const plane = new ClientDataPlane({
      lease: leaseOf(parameters),
      outlets: this,
      device,
      batch: { slotBytes: Math.max(2048, device.mtu, parameters.mtu) },
    })
    this.plane = plane
    const { datagram = true, reconnectSeconds } = this.options
    this.session = new ClientSession(
      parameters,
      { datagram, ...(reconnectSeconds === undefined ? {} : { reconnectSeconds }) },
      systemClock.now(),
    )
    this.driver = drive(this.session, {
      onOutput: (output, now) => this.handleOutput(output, now),
      keepsProcessAlive: true,
    })
    this.attachStream(connection, plane)
    pumpWhileReadable(
      device,
      () => plane.pumpDevice(systemClock.now()),
      () => this.noteTraffic(systemClock.now()),
    )
    device.onLost = error =>
      this.fail(new GatewayError('ERR_GATEWAY_HOST', `the interface is lost: ${error.message}`, { cause: error }))
  }

  private attachStream(connection: TunnelConnection, plane: ClientDataPlane): void {
    const { parameters, socket, head } = connection
    this.granted = connection
    const previous = this.stream
    const stream = new StreamChannel(
      socket,
      {
        onPackets: batch => {
          plane.handleStreamPackets(batch)
          this.noteTraffic(systemClock.now())
        },
        onControl: (type, payload) => this.driver?.input(now => this.session?.handleStreamFrame(type, payload, now)),
        onClosed: loss => {
          if (this.stream !== stream) return
          this.stream = undefined
          this.log.warn('stream channel lost', { reason: loss })
          this.driver?.input(now => this.session?.streamClosed(loss, now))
        },
      },
      { batch: plane.fromStream, owner: CLIENT_SESSION },
    )
    this.stream = stream
    previous?.end()
    this.driver?.input(now => this.session?.streamAttached(parameters, now))
    stream.start(head)
  }

  private handleOutput(output: ClientSessionOutput, now: Milliseconds): void {
    const { plane } = this
    switch (output.type) {
      case 'frame':
        if (output.channel === 'stream') this.stream?.sendFrame(output.frameType, output.payload)
        else if (plane?.path)
          plane.tunnels.sendControlFrame(CLIENT_ASSOCIATION, output.frameType, output.payload, plane.path, now)
        break
      case 'channel-changed': {
        const { from, to, reason } = output
        if (plane) plane.sessions.carriers[CLIENT_SESSION] = carrierOf[to]
        this.log.info(`data goes by the ${to} channel`, { from, to, reason })
        this.emit('channel-changed', { from, to, reason })
        break
      }
      case 'mtu-changed':
        if (plane) plane.sessions.mtus[CLIENT_SESSION] = output.mtu
        this.log.info('tunnel MTU changed', { mtu: output.mtu })
        this.updateInterface(output.mtu)
        this.emit('mtu-changed', { mtu: output.mtu })
        break
      case 'close-stream':
        this.stream?.end()
        this.stream = undefined
        break
      case 'close-datagram':
        this.datagrams.close()
        if (plane) plane.path = undefined
        break
      case 'reconnect-stream':
        void this.reconnect(output.cause)
        break
      case 'open-datagram': {
        const { parameters, remoteAddress: address, pskKey } = this.granted!
        if (parameters.datagram) void this.datagrams.open({ offer: parameters.datagram, address, pskKey })
        break
      }
      case 'closed':
        this.log.info('tunnel closed', { reason: output.reason, text: output.text })
        this.failure ??= endOf(output)
        this.close()
        this.emit('closed', { reason: output.reason, text: output.text })
        this.resolveStopped(this.failure)
        break
    }
  }

  private async reconnect(cause: 'lost' | 'rekey'): Promise<void> {
    const { granted, cookie, plane, options } = this
    if (!granted || !cookie || !plane) return
    let connection: TunnelConnection
    try {
      const request = tunnelRequest(hostname(), options.datagram ?? true, granted.parameters)
      connection = await this.control.connect({ ...cookie, request, signal: this.abort.signal })
    } catch (error) {
      if (this.session?.closed !== false) return
      this.log.warn('stream channel not brought back', { reason: String((error as Error).message) })
      this.driver?.input(now => this.session?.reconnectFailed(reconnectFailure(error), now))
      return
    }
    if (this.session?.closed !== false) {
      connection.socket.destroy()
      return
    }
    const { parameters } = connection
    this.log.info(cause === 'lost' ? 'stream channel re-established' : 'stream channel renewed')
    const haveMoved = !sameAddresses(granted.parameters, parameters)
    if (haveMoved) {
      this.noteTraffic(systemClock.now())
      plane.setLease(leaseOf(parameters))
    }
    this.attachStream(connection, plane)
    const isUpdated = this.updateInterface(this.session.mtu)
    if (haveMoved && !isUpdated) {
      this.fail(
        new GatewayError('ERR_GATEWAY_HOST', 'the gateway leases other addresses, which the interface can not take'),
      )
      return
    }
    this.emit('stream-renewed', { parameters })
  }

  /** Tells the interface what holds now. Returns whether it has taken it. */
  private updateInterface(mtu: number): boolean {
    if (!this.interface?.update || !this.granted) return false
    try {
      this.interface.update(this.granted.parameters, mtu)
      return true
    } catch (error) {
      this.log.warn('the interface does not take what the gateway grants', { reason: String((error as Error).message) })
      return false
    }
  }

  private noteTraffic(now: Milliseconds): void {
    this.plane?.sessions.drainActivity((_, carrier, traffic) => {
      const channel = carrier === Carrier.stream ? 'stream' : 'datagram'
      this.session?.noteReceived(channel, traffic.packetsReceived, traffic.bytesReceived, now)
      this.session?.noteSent(channel, traffic.packetsSent, traffic.bytesSent, now)
    })
    this.driver?.settle()
  }

  /** Ends the tunnel for a reason of this computer. */
  private fail(error: GatewayError): void {
    this.failure ??= error
    this.log.error('the tunnel ends', { reason: error.message })
    this.driver?.input(now => this.session?.disconnect('user-left', now))
  }

  private close(): void {
    this.abort.abort()
    this.driver?.stop()
    this.stream?.end()
    this.datagrams.close()
    this.interface?.close(this.failure)
  }
}

function leaseOf({ ipv4, ipv6, mtu }: TunnelParameters): SessionEntry {
  return { ipv4: ipv4?.address.bytes, ipv6: ipv6?.address.bytes, mtu }
}

function endOf({ reason, text }: Extract<ClientSessionOutput, { type: 'closed' }>): GatewayError | undefined {
  if (reason === 'user-left') return undefined
  return new GatewayError('ERR_GATEWAY_UNREACHABLE', text || `the tunnel ended: ${reason}`)
}

function reconnectFailure(error: unknown): ReconnectFailure {
  return error instanceof CoreError && error.code === 'ERR_COOKIE_REJECTED' ? 'refused' : 'unreachable'
}
