import { createHash } from 'node:crypto'
import {
  type CloseReason,
  type DatagramLoss,
  type FrameType,
  type LoginIdentity,
  type SessionEndReason,
  type SessionRecord,
  SessionRegistry,
  type SessionRegistryOutput,
  type TunnelParameters,
  wantsPsk,
} from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { type Driver, drive, type LoginContext, type SessionGrant, type TunnelAttempt } from '@twinbore/core/io'
import type { Clock, Milliseconds, Random } from '@twinbore/core/runtime'
import type { UserFacts } from '../../auth/authenticator.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import type { GatewayDataPlane } from '../../data-plane/gateway-data-plane.ts'
import { Carrier, type SessionTable } from '../../data-plane/session-table.ts'
import type { DatagramPath, TunnelOutlets } from '../../data-plane/tunnel-side.ts'
import type { Logger } from '../../log/logger.ts'
import type { AddressLeases, LeasedAddresses } from '../address-leases.ts'
import { AppIds } from '../app-ids.ts'
import { closeReasons, endReasonOf } from '../end-reasons.ts'
import { type GrantInput, grantParameters } from '../grant-parameters.ts'
import { bytesOf, factsOf, type Holding, newHolding } from '../holding.ts'
import { registryLimits } from '../registry-limits.ts'
import type { SessionFacts } from '../session-facts.ts'
import { type ChannelChange, LiveSession, type LiveSessionHost } from './live-session.ts'
import { OpenStreams } from './open-streams.ts'

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
  /** The UDP port that is announced; `undefined` without a datagram channel. */
  readonly datagramPort: number | undefined
  /** What is known of a user; `undefined` when they may not come in (any more). */
  readonly factsOf: (username: string) => UserFacts | undefined
  readonly closeAssociation: (association: number) => void
}

type Record = SessionRecord<Holding<LiveSession>>

/** The sessions of a gateway: cookies, addresses, live sessions, and who is who in the data plane. */
export class SessionHost implements LiveSessionHost, TunnelOutlets {
  readonly clock: Clock
  readonly sessions: SessionTable
  plane!: GatewayDataPlane
  path: DatagramPath | undefined
  config: GatewayConfig
  /** While draining nobody gets in, and sessions that lose their stream stay as they are. */
  draining = false
  private readonly options: SessionHostOptions
  private readonly registry: SessionRegistry<Holding<LiveSession>>
  private readonly registryDriver: Driver
  /** Session records by data plane number. */
  private readonly byIndex: (Record | undefined)[] = []
  private readonly appIds = new AppIds<Record>()
  private readonly streams = new OpenStreams()

  constructor(options: SessionHostOptions) {
    this.options = options
    this.config = options.config
    this.clock = options.clock
    this.sessions = options.sessions
    this.registry = new SessionRegistry({
      random: options.random,
      hash: bytes => createHash('sha256').update(bytes).digest(),
      limits: registryLimits(options.config.session),
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

  /**
   * From now on sessions and reconnections get what this configuration grants. Sessions of users who may not come in any
   * more are ended.
   */
  reconfigure(config: GatewayConfig): void {
    this.config = config
    this.registryDriver.input(now => {
      this.registry.setLimits(registryLimits(config.session), now)
      for (const { id, identity } of [...this.registry.sessions()]) {
        if (!this.options.factsOf(identity.username)) this.registry.end(id, 'terminated')
      }
    })
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
      const user = this.options.factsOf(session.identity.username)
      if (!user) {
        attempt.refuse(401, 'The user may not connect any more')
        this.registry.end(session.id, 'terminated')
        return
      }
      const holding = session.lease ?? this.hold(session, user, attempt, now)
      if (typeof holding === 'string') {
        attempt.refuse(503, holding)
        this.registry.end(session.id, 'terminated')
        return
      }
      session.lease = holding
      const isConnected = this.connect(session, holding, attempt, now)
      // The client has gone meanwhile; a stream from before may be left.
      if (!isConnected && !holding.live?.hasStream) this.registry.streamLost(session.id, stream, now)
    })
  }

  /** The key of the DTLS handshake that names this App-ID. */
  findPsk(appId: Uint8Array): Uint8Array | undefined {
    return this.appIds.find(appId)?.lease?.pskKey
  }

  knowsAppId(appId: Uint8Array): boolean {
    return this.appIds.find(appId) !== undefined
  }

  /** A DTLS handshake is complete. `overhead`: what a record adds to its plaintext. */
  attachAssociation(association: number, appId: Uint8Array, overhead: number, maxPlaintextBytes: number): void {
    const holding = this.appIds.find(appId)?.lease
    if (!holding?.live) {
      this.options.closeAssociation(association)
      return
    }
    const { linkMtu, outerFamily } = holding
    const fitting = linkMtu - (outerFamily === 4 ? 20 : 40) - 8 - overhead
    holding.live.attachAssociation(association, Math.min(maxPlaintextBytes, fitting))
  }

  /** An association is gone; one that is not a session's newest matters to nobody. */
  detachAssociation(association: number, loss: DatagramLoss): void {
    this.liveOf(this.sessions.ofAssociation(association))?.detachAssociation(loss)
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
    await this.streams.closed()
  }

  /** Cuts the streams that are still being ended. */
  destroyStreams(): void {
    this.streams.destroy()
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
    this.forgetLive(record.lease)
    this.options.events.closed(facts, reason, (this.clock.now() - record.createdAt) / 1000)
    if (text !== '' && reason === 'protocol-violation') this.options.log.debug('session closed', { text })
    // The registry may have ended it from within one of its own outputs.
    if (record.state === 'ended') this.release(record, this.clock.now())
    else
      this.registryDriver.input(now => {
        if (reason === 'drained') this.registry.streamLost(record.id, record.stream, now)
        else this.registry.end(record.id, endReasonOf(reason))
      })
  }

  /** Leases addresses for a session that comes for the first time. A text says why there are none. */
  private hold(
    { identity }: Record,
    user: UserFacts,
    attempt: TunnelAttempt,
    now: Milliseconds,
  ): Holding<LiveSession> | string {
    const { request } = attempt
    const reserved = user.addresses.flatMap(text => IpAddress.parse(text) ?? [])
    const { addresses, exhausted } = this.options.leases.take(
      { user: identity.username, ipv4: request.ipv4, ipv6: request.ipv6, wishes: [...reserved, ...request.addresses] },
      now,
    )
    for (const pool of exhausted) {
      this.options.log.warn('the address pool is exhausted', { pool: pool.toString(), user: identity.username })
    }
    if (!addresses) {
      return exhausted.length > 0
        ? `The address pool ${exhausted.join(' and ')} is exhausted`
        : 'No address of the families that were asked for'
    }
    const { remoteAddress, pskKey } = attempt
    return newHolding(addresses, { remoteAddress, userAgent: request.userAgent, pskKey })
  }

  private announce(record: Record, holding: Holding<LiveSession>): void {
    const { established, resumed } = this.options.events
    const facts = factsOf(record, this.sessions)
    if (holding.announced) resumed(facts)
    else {
      holding.announced = true
      established(facts)
    }
  }

  /** Answers a CONNECT and puts the stream to work. False when the client has gone meanwhile. */
  private connect(record: Record, holding: Holding<LiveSession>, attempt: TunnelAttempt, now: Milliseconds): boolean {
    const { request } = attempt
    const port = this.options.datagramPort
    const datagram =
      port !== undefined && wantsPsk(request)
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
    holding.live ??= this.install(record, holding, parameters)
    if (!holding.live) {
      established.socket.destroy()
      return false
    }
    holding.remoteAddress = attempt.remoteAddress
    holding.userAgent = request.userAgent
    holding.outerFamily = input.outerFamily
    holding.linkMtu = parameters.baseMtu
    holding.pskKey = attempt.pskKey
    this.appIds.set(record, datagram?.appId)
    this.streams.add(established.socket)
    const { live } = holding
    this.announce(record, holding)
    // Whoever hears of it may have ended it.
    if (holding.live === live) live.attachStream(established, parameters)
    else established.socket.destroy()
    return true
  }

  private install(
    record: Record,
    { addresses }: Holding<LiveSession>,
    parameters: TunnelParameters,
  ): LiveSession | undefined {
    const index = this.sessions.install({
      ipv4: addresses.ipv4?.bytes,
      ipv6: addresses.ipv6?.bytes,
      mtu: parameters.mtu,
    })
    if (index === -1) return undefined
    this.byIndex[index] = record
    return new LiveSession(this, index, parameters)
  }

  private handleEnded({ session, reason }: SessionRegistryOutput<Holding<LiveSession>>, now: Milliseconds): void {
    session.lease?.live?.disconnect(closeReasons[reason])
    // While one of its outputs is being handled it is not gone yet: `handleClosed` follows.
    if (!session.lease?.live) this.release(session, now)
  }

  /** Nothing is left of a session: its addresses and its App-ID are free. */
  private release(record: Record, now: Milliseconds): void {
    const holding = record.lease
    if (!holding) return
    record.lease = undefined
    this.appIds.set(record, undefined)
    this.options.leases.release(holding.addresses, now)
    this.options.events.released(holding.addresses, now)
  }

  private forgetLive(holding: Holding<LiveSession>): void {
    const { live } = holding
    if (!live) return
    const { outbound, inbound } = bytesOf(holding, this.sessions)
    holding.bytesOutbound = outbound
    holding.bytesInbound = inbound
    holding.live = undefined
    this.byIndex[live.index] = undefined
    this.sessions.remove(live.index)
  }

  private liveOf(index: number): LiveSession | undefined {
    return index === -1 ? undefined : this.byIndex[index]?.lease?.live
  }
}
