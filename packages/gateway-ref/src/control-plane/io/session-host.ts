import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import {
  type ActiveChannel,
  type CloseReason,
  type DatagramLoss,
  type FrameType,
  type LoginIdentity,
  type SessionEndReason,
  type SessionRecord,
  SessionRegistry,
  type SessionRegistryLimits,
  type SessionRegistryOutput,
} from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { type Driver, drive, type LoginContext, type SessionGrant, type TunnelAttempt } from '@twinbore/core/io'
import { PacketBatch, type PacketBatchOptions } from '@twinbore/core/packet'
import type { Clock, Milliseconds, Random } from '@twinbore/core/runtime'
import type { UserFacts } from '../../auth/authenticator.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import type { GatewayDataPlane } from '../../data-plane/gateway-data-plane.ts'
import { Carrier, type SessionTable } from '../../data-plane/session-table.ts'
import type { DatagramPath, TunnelOutlets } from '../../data-plane/tunnel-side.ts'
import type { Logger } from '../../log/logger.ts'
import type { AddressLeases, LeasedAddresses } from '../address-leases.ts'
import { type GrantInput, grantParameters, wantsDatagramChannel } from '../grant-parameters.ts'
import type { SessionFacts } from '../session-facts.ts'
import { type ChannelChange, LiveSession, type LiveSessionHost } from './live-session.ts'

/** What the control plane tells the gateway about sessions. */
export interface SessionHostEvents {
  established(facts: SessionFacts): void
  resumed(facts: SessionFacts): void
  channelChanged(facts: SessionFacts, change: ChannelChange): void
  closed(facts: SessionFacts, reason: CloseReason, seconds: number): void
  /** Addresses are free again: what was kept for them may go. */
  released(addresses: LeasedAddresses, now: Milliseconds): void
}

export interface SessionHostOptions {
  readonly config: GatewayConfig
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly sessions: SessionTable
  readonly leases: AddressLeases
  readonly events: SessionHostEvents
  readonly batch: PacketBatchOptions
  /** The UDP port that is announced; `undefined` without a datagram channel. */
  readonly datagramPort: () => number | undefined
  readonly factsOf: (username: string) => UserFacts | undefined
  readonly closeAssociation: (association: number) => void
}

/** What a session keeps besides its cookie. */
interface Holding {
  readonly addresses: LeasedAddresses
  live: LiveSession | undefined
  remoteAddress: string
  userAgent: string | undefined
  appId: string | undefined
  pskKey: Uint8Array
  /** Family of the addresses that client and gateway talk with, and the link MTU between them. */
  outerFamily: 4 | 6
  linkMtu: number
  /** Traffic of live sessions before this one. */
  bytesOutbound: number
  bytesInbound: number
  lastChannel: ActiveChannel
}

type Record = SessionRecord<Holding>

/** The sessions of a gateway: cookies, addresses, live sessions, and who is who in the data plane. */
export class SessionHost implements LiveSessionHost, TunnelOutlets {
  readonly clock: Clock
  readonly sessions: SessionTable
  readonly streamBatch: PacketBatch
  plane!: GatewayDataPlane
  path: DatagramPath | undefined
  config: GatewayConfig
  /** While draining nobody gets in, and sessions that lose their stream stay as they are. */
  draining = false
  private readonly options: SessionHostOptions
  private readonly registry: SessionRegistry<Holding>
  private readonly registryDriver: Driver
  /** Session records by data plane number, and by the App-ID of their newest stream (hexadecimal). */
  private readonly byIndex: (Record | undefined)[] = []
  private readonly byAppId = new Map<string, Record>()
  /** Streams that are open, those that are being ended included. */
  private readonly streams = new Set<TLSSocket>()

  constructor(options: SessionHostOptions) {
    this.options = options
    this.config = options.config
    this.clock = options.clock
    this.sessions = options.sessions
    this.streamBatch = new PacketBatch(options.batch)
    this.registry = new SessionRegistry({
      random: options.random,
      hash: bytes => createHash('sha256').update(bytes).digest(),
      limits: registryLimits(options.config),
    })
    this.registryDriver = drive(this.registry, {
      clock: this.clock,
      onOutput: (output, now) => this.handleEnded(output, now),
    })
  }

  /** How many sessions there are, connected or not. */
  get size(): number {
    return this.registry.size
  }

  list(): SessionFacts[] {
    return Array.from(this.registry.sessions(), record => factsOf(record, this.sessions))
  }

  /** From now on sessions and reconnections get what this configuration grants. */
  reconfigure(config: GatewayConfig): void {
    this.config = config
    this.registryDriver.input(now => this.registry.setLimits(registryLimits(config), now))
  }

  /** Somebody has passed every check. */
  openSession(identity: LoginIdentity, context: LoginContext): SessionGrant {
    if (this.draining) return { refused: 'The gateway is shutting down' }
    let grant: SessionGrant = { refused: 'Internal error' }
    this.registryDriver.input(now => {
      const opened = this.registry.open(identity, now)
      if ('refused' in opened) {
        const text = opened.refused === 'user-limit' ? 'Too many sessions of this user' : 'Too many sessions'
        this.options.log.warn('session refused', {
          user: identity.username,
          remote: context.remoteAddress,
          reason: opened.refused,
        })
        grant = { refused: text }
      } else grant = { cookie: opened.cookie }
    })
    return grant
  }

  /** A client asks for its tunnel. */
  acceptTunnel(attempt: TunnelAttempt): void {
    if (this.draining) {
      attempt.refuse(503, 'The gateway is shutting down')
      return
    }
    this.registryDriver.input(now => {
      const connected = this.registry.connect(attempt.cookie, now)
      if ('refused' in connected) {
        attempt.refuse(401, 'Cookie is not acceptable')
        return
      }
      const { session, stream } = connected
      const holding = session.lease ?? this.lease(session, attempt, now)
      if (typeof holding === 'string') {
        attempt.refuse(503, holding)
        this.registry.end(session.id, 'terminated')
        return
      }
      const { established, resumed } = this.options.events
      const announce = session.lease ? resumed : established
      session.lease = holding
      if (!this.connect(session, holding, attempt, announce, now)) this.registry.streamLost(session.id, stream, now)
    })
  }

  /** The key of the DTLS handshake that names this App-ID. */
  findPsk(appId: Uint8Array): Uint8Array | undefined {
    return this.byAppId.get(Buffer.from(appId).toString('hex'))?.lease?.pskKey
  }

  knowsAppId(appId: Uint8Array): boolean {
    return this.byAppId.has(Buffer.from(appId).toString('hex'))
  }

  /** A DTLS handshake is complete. `overhead`: what a record adds to its plaintext. */
  attachAssociation(association: number, appId: Uint8Array, overhead: number, maxPlaintextBytes: number): void {
    const holding = this.byAppId.get(Buffer.from(appId).toString('hex'))?.lease
    if (!holding?.live) {
      this.options.closeAssociation(association)
      return
    }
    const { linkMtu, outerFamily } = holding
    const fitting = linkMtu - (outerFamily === 4 ? 20 : 40) - 8 - overhead
    holding.live.attachAssociation(association, Math.min(maxPlaintextBytes, fitting))
  }

  detachAssociation(association: number, loss: DatagramLoss): void {
    this.liveOf(this.sessions.ofAssociation(association))?.detachAssociation(association, loss)
  }

  /** The system refused a record with so many bytes of plaintext as too long for its path. */
  handleDatagramTooBig(association: number, payloadBytes: number): void {
    this.liveOf(this.sessions.ofAssociation(association))?.handleMessageTooBig(payloadBytes)
  }

  /** Tells the sessions what passed in the data plane; once per batch. */
  noteActivity(now: Milliseconds): void {
    this.sessions.drainActivity((index, carrier, traffic) => {
      const record = this.byIndex[index]
      if (!record) return
      this.registry.noteActivity(record.id, now)
      record.lease?.live?.noteTraffic(carrier === Carrier.stream ? 'stream' : 'datagram', traffic, now)
    })
  }

  /** Ends one session for good. Returns whether there was one. */
  end(id: number, reason: SessionEndReason = 'terminated'): boolean {
    let found = false
    this.registryDriver.input(() => {
      found = this.registry.end(id, reason)
    })
    return found
  }

  /** Ends every session: clients are told, their streams closed after what is queued. */
  endAll(reason: CloseReason): void {
    this.draining = true
    for (const record of [...this.registry.sessions()]) record.lease?.live?.disconnect(reason)
  }

  /** Ends everything. Resolves when the streams have taken their goodbye. */
  async stop(): Promise<void> {
    this.endAll('gateway-shutdown')
    this.registryDriver.stop()
    await Promise.all(Array.from(this.streams, socket => new Promise(resolve => socket.once('close', resolve))))
  }

  /** Cuts the streams that are still being ended. */
  destroyStreams(): void {
    for (const socket of this.streams) socket.destroy()
  }

  // Of the data plane.

  sendOnStream(session: number, bytes: Uint8Array, offset: number, length: number): void {
    this.liveOf(session)?.sendOnStream(bytes, offset, length)
  }

  handleControlFrame(session: number, type: FrameType, payload: Uint8Array, now: Milliseconds): void {
    this.liveOf(session)?.handleDatagramFrame(type, payload, now)
  }

  // Of live sessions.

  closeAssociation(association: number): void {
    this.options.closeAssociation(association)
  }

  handleChannelChange(session: LiveSession, change: ChannelChange): void {
    const record = this.byIndex[session.index]
    if (record?.lease) this.options.events.channelChanged(factsOf(record, this.sessions), change)
  }

  handleStreamLoss(session: LiveSession): void {
    const record = this.byIndex[session.index]
    if (record) this.registryDriver.input(now => this.registry.streamLost(record.id, record.stream, now))
  }

  handleClosed(session: LiveSession, reason: CloseReason, text: string): void {
    const record = this.byIndex[session.index]
    if (!record?.lease) return
    this.noteActivity(this.clock.now())
    const facts = factsOf(record, this.sessions)
    this.forgetLive(record)
    this.options.events.closed(facts, reason, (this.clock.now() - record.createdAt) / 1000)
    if (text !== '' && reason === 'protocol-violation') this.options.log.debug('session closed', { text })
    this.registryDriver.input(now => {
      if (reason === 'drained') this.registry.streamLost(record.id, record.stream, now)
      else this.registry.end(record.id, endReasons[reason] ?? 'terminated')
    })
  }

  private lease(record: Record, attempt: TunnelAttempt, now: Milliseconds): Holding | string {
    const { identity } = record
    const { request } = attempt
    const reserved = (this.options.factsOf(identity.username)?.addresses ?? []).flatMap(
      text => IpAddress.parse(text) ?? [],
    )
    const addresses = this.options.leases.take(
      { user: identity.username, ipv4: request.ipv4, ipv6: request.ipv6, wishes: [...reserved, ...request.addresses] },
      now,
    )
    if (typeof addresses === 'string') {
      this.options.log.warn('no address for a session', { user: identity.username, reason: addresses })
      return addresses
    }
    return {
      addresses,
      live: undefined,
      remoteAddress: attempt.remoteAddress,
      userAgent: request.userAgent,
      appId: undefined,
      pskKey: attempt.pskKey,
      outerFamily: 4,
      linkMtu: 0,
      bytesOutbound: 0,
      bytesInbound: 0,
      lastChannel: 'none',
    }
  }

  /** Answers a CONNECT and puts the stream to work. False when the client has gone meanwhile. */
  private connect(
    record: Record,
    holding: Holding,
    attempt: TunnelAttempt,
    announce: (facts: SessionFacts) => void,
    now: Milliseconds,
  ): boolean {
    const { request } = attempt
    const port = this.options.datagramPort()
    const datagram =
      port !== undefined && wantsDatagramChannel(request)
        ? { port, appId: this.options.random.fill(new Uint8Array(32)) }
        : undefined
    const input: GrantInput = {
      request,
      leased: holding.addresses,
      outerFamily: attempt.remoteAddress.includes(':') ? 6 : 4,
      datagram,
      sessionRemainingSeconds: this.registry.remainingSeconds(record, now),
    }
    const parameters = grantParameters(this.config, input)
    const established = attempt.accept(parameters)
    if (!established) return false

    holding.remoteAddress = attempt.remoteAddress
    holding.userAgent = request.userAgent
    holding.outerFamily = input.outerFamily
    holding.linkMtu = parameters.baseMtu
    holding.pskKey = attempt.pskKey
    this.setAppId(record, holding, datagram?.appId)
    if (!holding.live) {
      const index = this.sessions.install({
        ipv4: holding.addresses.ipv4?.bytes,
        ipv6: holding.addresses.ipv6?.bytes,
        mtu: parameters.mtu,
      })
      if (index === -1) {
        established.socket.destroy()
        return false
      }
      this.byIndex[index] = record
      holding.live = new LiveSession(this, index, parameters)
    }
    const { socket } = established
    this.streams.add(socket)
    socket.once('close', () => this.streams.delete(socket))
    announce(factsOf(record, this.sessions))
    holding.live.attachStream(established, parameters)
    return true
  }

  private setAppId(record: Record, holding: Holding, appId: Uint8Array | undefined): void {
    if (holding.appId !== undefined) this.byAppId.delete(holding.appId)
    holding.appId = appId && Buffer.from(appId).toString('hex')
    if (holding.appId !== undefined) this.byAppId.set(holding.appId, record)
  }

  private handleEnded({ session, reason }: SessionRegistryOutput<Holding>, now: Milliseconds): void {
    const holding = session.lease
    if (!holding) return
    holding.live?.disconnect(closeReasons[reason])
    this.setAppId(session, holding, undefined)
    session.lease = undefined
    this.options.leases.release(holding.addresses, now)
    this.options.events.released(holding.addresses, now)
  }

  private forgetLive(record: Record): void {
    const holding = record.lease
    if (!holding?.live) return
    const { index } = holding.live
    for (const carrier of [Carrier.stream, Carrier.datagram] as const) {
      const traffic = this.sessions.traffic(index, carrier)
      holding.bytesOutbound += traffic.bytesReceived
      holding.bytesInbound += traffic.bytesSent
    }
    holding.live = undefined
    this.byIndex[index] = undefined
    this.sessions.remove(index)
  }

  private liveOf(index: number): LiveSession | undefined {
    return index === -1 ? undefined : this.byIndex[index]?.lease?.live
  }
}

function registryLimits({ session }: GatewayConfig): SessionRegistryLimits {
  const { maxSeconds, cookieSeconds, maxSessions, maxSessionsPerUser } = session
  // Idle time is the session machine's: it tells the client why.
  return { maxSeconds, idleSeconds: 0, cookieSeconds, maxSessions, maxSessionsPerUser }
}

const closeReasons: { readonly [Reason in SessionEndReason]: CloseReason } = {
  'user-left': 'user-left',
  terminated: 'administrator',
  'max-age': 'session-expired',
  idle: 'idle-timeout',
  'cookie-timeout': 'disconnected-too-long',
  superseded: 'replaced',
}

const endReasons: { readonly [Reason in CloseReason]?: SessionEndReason } = {
  'user-left': 'user-left',
  'session-expired': 'max-age',
  'idle-timeout': 'idle',
  'disconnected-too-long': 'cookie-timeout',
  replaced: 'superseded',
}

function factsOf(record: Record, sessions: SessionTable): SessionFacts {
  const { id, identity, lease } = record
  let bytesOutbound = lease?.bytesOutbound ?? 0
  let bytesInbound = lease?.bytesInbound ?? 0
  if (lease?.live) {
    for (const carrier of [Carrier.stream, Carrier.datagram] as const) {
      const traffic = sessions.traffic(lease.live.index, carrier)
      bytesOutbound += traffic.bytesReceived
      bytesInbound += traffic.bytesSent
    }
  }
  return {
    id,
    identity,
    remoteAddress: lease?.remoteAddress ?? '',
    ...(lease?.userAgent !== undefined && { userAgent: lease.userAgent }),
    ...(lease?.addresses.ipv4 && { ipv4: lease.addresses.ipv4.toString() }),
    ...(lease?.addresses.ipv6 && { ipv6: lease.addresses.ipv6.toString() }),
    activeChannel: lease?.live?.activeChannel ?? 'none',
    bytesOutbound,
    bytesInbound,
  }
}
