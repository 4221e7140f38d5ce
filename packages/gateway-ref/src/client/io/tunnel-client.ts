import { hostname } from 'node:os'
import {
  type ActiveChannel,
  ClientSession,
  type ClientSessionOutput,
  CoreError,
  type FrameType,
  type ReconnectFailure,
  type TunnelParameters,
  type TunnelRequest,
} from '@twinbore/core'
import {
  ControlClient,
  type Driver,
  drive,
  StreamChannel,
  systemClock,
  systemRandom,
  type TunnelConnection,
} from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import { openDatagramSocket } from '@twinbore/tun/io'
import { EventEmitter } from 'eventemitter3'
import { Carrier, SessionTable } from '../../data-plane/session-table.ts'
import type { TunnelOutlets } from '../../data-plane/tunnel-side.ts'
import { GatewayError } from '../../errors.ts'
import type { RunnableTunnel } from '../../gateway.ts'
import { pumpWhileReadable } from '../../io/pump.ts'
import { type Logger, silentLogger } from '../../log/logger.ts'
import { CLIENT_SESSION, ClientDataPlane } from '../client-data-plane.ts'
import type { ClientInterface, ConnectOptions, TunnelClientEvents } from '../client-options.ts'
import { CLIENT_ASSOCIATION, DatagramClient } from './datagram-client.ts'
import { systemInterface } from './system-interface.ts'

const carrierOf = { none: Carrier.none, stream: Carrier.stream, datagram: Carrier.datagram } as const
/** The link MTU that is told to the gateway; the path MTU search of the session corrects it downwards. */
const LINK_MTU = 1500

/** A client's tunnel: logs in, keeps both channels up, and moves packets between them and an interface. */
export class TunnelClient extends EventEmitter<TunnelClientEvents> implements RunnableTunnel, TunnelOutlets {
  readonly stopped: Promise<Error | undefined>
  private readonly options: ConnectOptions
  private readonly log: Logger
  private readonly control: ControlClient
  private readonly abort = new AbortController()
  private readonly sessions = new SessionTable(1)
  private readonly streamBatch = new PacketBatch()
  private cookie: { readonly cookie: string; readonly host?: string; readonly port?: number } | undefined
  private granted: TunnelConnection | undefined
  private session: ClientSession | undefined
  private driver: Driver | undefined
  private plane: ClientDataPlane | undefined
  private interface: ClientInterface | undefined
  private stream: StreamChannel | undefined
  /** The datagram channel in use, and the attempt that may replace it. */
  private datagram: DatagramClient | undefined
  private attempt: DatagramClient | undefined
  private resolveStopped!: (failure: Error | undefined) => void

  constructor(options: ConnectOptions) {
    super()
    this.options = options
    this.log = options.log ?? silentLogger
    this.control = new ControlClient(options)
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

  async start(): Promise<TunnelParameters> {
    const { credentials, cookie } = this.options
    const { signal } = this.abort
    try {
      this.cookie = cookie === undefined ? await this.control.login({ ...credentials, signal }) : { cookie }
      const connection = await this.control.connect({ ...this.cookie, request: this.request([]), signal })
      await this.begin(connection)
      return connection.parameters
    } catch (error) {
      this.close()
      this.resolveStopped(undefined)
      throw error
    }
  }

  async stop(_options: { readonly immediately?: boolean } = {}): Promise<void> {
    this.abort.abort()
    const { session, driver } = this
    if (session && !session.closed) driver?.input(now => session.disconnect('user-left', now))
    else this.resolveStopped(undefined)
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

  private async begin(connection: TunnelConnection): Promise<void> {
    const { parameters } = connection
    const makeInterface = this.options.interface ?? systemInterface({ log: this.log })
    try {
      this.interface = await makeInterface(parameters, connection.remoteAddress)
    } catch (error) {
      connection.socket.destroy()
      throw error
    }
    const { device } = this.interface
    this.sessions.install({
      ipv4: parameters.ipv4?.address.bytes,
      ipv6: parameters.ipv6?.address.bytes,
      mtu: parameters.mtu,
    })
    this.sessions.setAssociation(CLIENT_SESSION, CLIENT_ASSOCIATION)
    const plane = new ClientDataPlane({
      sessions: this.sessions,
      outlets: this,
      device,
      batch: { slotBytes: Math.max(2048, device.mtu) },
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
    this.attachStream(connection)
    pumpWhileReadable(
      device,
      () => plane.pumpDevice(systemClock.now()),
      () => this.noteTraffic(systemClock.now()),
    )
  }

  private attachStream(connection: TunnelConnection): void {
    const { parameters, socket, head } = connection
    this.granted = connection
    const previous = this.stream
    const stream = new StreamChannel(
      socket,
      {
        onPackets: batch => {
          const now = systemClock.now()
          this.sessions.countReceived(batch, Carrier.stream)
          this.plane?.deliver(batch)
          this.noteTraffic(now)
        },
        onControl: (type, payload) => this.driver?.input(now => this.session?.handleStreamFrame(type, payload, now)),
        onClosed: loss => {
          if (this.stream !== stream) return
          this.stream = undefined
          this.log.warn('stream channel lost', { reason: loss })
          this.driver?.input(now => this.session?.streamClosed(loss, now))
        },
      },
      { batch: this.streamBatch, owner: CLIENT_SESSION },
    )
    this.stream = stream
    previous?.end()
    this.driver?.input(now => this.session?.streamAttached(parameters, now))
    stream.start(head)
  }

  private handleOutput(output: ClientSessionOutput, now: Milliseconds): void {
    switch (output.type) {
      case 'frame':
        if (output.channel === 'stream') this.stream?.sendFrame(output.frameType, output.payload)
        else if (this.plane?.path)
          this.plane.tunnels.sendControlFrame(
            CLIENT_ASSOCIATION,
            output.frameType,
            output.payload,
            this.plane.path,
            now,
          )
        break
      case 'channel-changed': {
        const { from, to, reason } = output
        this.sessions.carriers[CLIENT_SESSION] = carrierOf[to]
        this.log.info(`data goes by the ${to} channel`, { from, to, reason })
        this.emit('channel-changed', { from, to, reason })
        break
      }
      case 'mtu-changed':
        this.sessions.mtus[CLIENT_SESSION] = output.mtu
        if (this.granted) this.interface?.update?.(this.granted.parameters, output.mtu)
        this.log.info('tunnel MTU changed', { mtu: output.mtu })
        this.emit('mtu-changed', { mtu: output.mtu })
        break
      case 'close-stream':
        this.stream?.end()
        this.stream = undefined
        break
      case 'close-datagram':
        this.closeDatagram()
        break
      case 'reconnect-stream':
        void this.reconnect(output.cause)
        break
      case 'open-datagram':
        void this.openDatagram()
        break
      case 'closed':
        this.log.info('tunnel closed', { reason: output.reason, text: output.text })
        this.emit('closed', { reason: output.reason, text: output.text })
        this.close()
        this.resolveStopped(
          output.reason === 'user-left'
            ? undefined
            : new GatewayError('ERR_GATEWAY_UNREACHABLE', output.text || `the tunnel ended: ${output.reason}`),
        )
        break
    }
  }

  private async reconnect(cause: 'lost' | 'rekey'): Promise<void> {
    const { granted, cookie } = this
    if (!granted || !cookie) return
    const { ipv4, ipv6 } = granted.parameters
    const held = [ipv4?.address, ipv6?.address].flatMap(address => address ?? [])
    try {
      const request = this.request(held)
      const connection = await this.control.connect({ ...cookie, request, signal: this.abort.signal })
      if (this.session?.closed !== false) {
        connection.socket.destroy()
        return
      }
      this.log.info(cause === 'lost' ? 'stream channel re-established' : 'stream channel renewed')
      this.attachStream(connection)
      this.emit('stream-renewed', { parameters: connection.parameters })
    } catch (error) {
      const failure = reconnectFailure(error)
      this.log.warn('stream channel not brought back', {
        reason: error instanceof Error ? error.message : String(error),
      })
      this.driver?.input(now => this.session?.reconnectFailed(failure, now))
    }
  }

  private async openDatagram(): Promise<void> {
    const { granted } = this
    const offer = granted?.parameters.datagram
    if (!granted || !offer) return
    this.attempt?.close()
    this.attempt = undefined
    const { remoteAddress: address, pskKey } = granted
    let client: DatagramClient | undefined
    const lose = (loss: Parameters<ClientSession['datagramFailed']>[0]) => {
      this.log.debug('datagram channel lost', { reason: loss })
      if (client !== undefined && client === this.datagram) {
        this.datagram = undefined
        if (this.plane) this.plane.path = undefined
        this.driver?.input(now => this.session?.datagramClosed(loss, now))
      } else if (client === this.attempt) {
        this.attempt = undefined
        this.driver?.input(now => this.session?.datagramFailed(loss, now))
      }
    }
    try {
      const openSocket = this.options.openDatagramSocket ?? openDatagramSocket
      const options = { offer, address, pskKey, openSocket, clock: systemClock, random: systemRandom }
      client = await DatagramClient.open(options, {
        onEstablished: ({ cipherSuite, overhead, maxPlaintextBytes }) => {
          const previous = this.datagram
          this.datagram = client
          this.attempt = undefined
          if (this.plane) this.plane.path = client!.path
          this.log.info('datagram channel established', { cipher: cipherSuite })
          const fitting = LINK_MTU - (address.includes(':') ? 40 : 20) - 8 - overhead
          this.driver?.input(now => this.session?.datagramOpened(Math.min(maxPlaintextBytes, fitting), now))
          previous?.close()
        },
        onClosed: lose,
        onTooBig: bytes => this.driver?.input(now => this.session?.handleMessageTooBig(bytes - RECORD_OVERHEAD, now)),
      })
    } catch (error) {
      this.log.warn('no UDP socket', { reason: String(error) })
      lose('error')
      return
    }
    if (this.session?.closed !== false) return client.close()
    this.attempt = client
    const opened = client
    pumpWhileReadable(
      opened.path.socket,
      () => this.plane?.pumpPath(opened.path, systemClock.now()) ?? true,
      () => {
        this.noteTraffic(systemClock.now())
        opened.settle()
      },
    )
  }

  private closeDatagram(): void {
    this.datagram?.close()
    this.attempt?.close()
    this.datagram = undefined
    this.attempt = undefined
    if (this.plane) this.plane.path = undefined
  }

  private noteTraffic(now: Milliseconds): void {
    this.sessions.drainActivity((_, carrier, traffic) => {
      const channel = carrier === Carrier.stream ? 'stream' : 'datagram'
      this.session?.noteReceived(channel, traffic.packetsReceived, traffic.bytesReceived, now)
      this.session?.noteSent(channel, traffic.packetsSent, traffic.bytesSent, now)
    })
    this.driver?.settle()
  }

  private close(): void {
    this.abort.abort()
    this.driver?.stop()
    this.stream?.end()
    this.closeDatagram()
    this.interface?.close()
  }

  private request(addresses: TunnelRequest['addresses']): TunnelRequest {
    return {
      hostname: hostname(),
      ipv4: true,
      ipv6: true,
      fullIpv6: true,
      addresses,
      baseMtu: LINK_MTU,
      streamEncodings: [],
      device: {},
      ...(this.options.datagram !== false && {
        datagram: { cipherSuites: ['PSK-NEGOTIATE'], dtls12CipherSuites: [], encodings: [] },
      }),
    }
  }
}

/** Header, explicit nonce and tag of an AES-GCM record, the largest there is. */
const RECORD_OVERHEAD = 37

function reconnectFailure(error: unknown): ReconnectFailure {
  if (!(error instanceof CoreError)) return 'unreachable'
  return error.code === 'ERR_COOKIE_REJECTED' ? 'refused' : 'unreachable'
}
