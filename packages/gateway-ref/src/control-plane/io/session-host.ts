import { createHash } from 'node:crypto'
import {
  type CloseReason,
  type LoginIdentity,
  type SessionEndReason,
  type SessionRecord,
  SessionRegistry,
  type SessionRegistryOutput,
  type TunnelParameters,
  wantsPsk,
} from '@twinbore/core'
import { type Driver, drive, type LoginContext, type SessionGrant, type TunnelAttempt } from '@twinbore/core/io'
import type { Clock, Milliseconds, Random } from '@twinbore/core/runtime'
import type { AccessTerms } from '../../access/access-policy.ts'
import type { AccessDecision } from '../../access/decide-access.ts'
import type { Identity } from '../../auth/authenticator.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import type { DataPlane } from '../../data-plane/data-plane.ts'
import type { Logger } from '../../log/logger.ts'
import {
  type AccessControl,
  longestSeconds,
  planePermissions,
  refusalText,
  samePermissions,
} from '../access-control.ts'
import type { AddressLeases, LeasedAddresses } from '../address-leases.ts'
import { closeReasons, endReasonOf } from '../end-reasons.ts'
import { type GrantInput, grantParameters } from '../grant-parameters.ts'
import { bytesOf, factsOf, type Holding, newHolding } from '../holding.ts'
import { identityOf } from '../identity-of.ts'
import { leaseFor } from '../lease-for.ts'
import { rateOf } from '../rate-of.ts'
import { registryLimits } from '../registry-limits.ts'
import { Reviews } from '../reviews.ts'
import type { SessionFacts } from '../session-facts.ts'
import { numbersFor } from '../session-numbers.ts'
import type { OpenStream } from '../session-stream.ts'
import { type ChannelChange, LiveSession, type LiveSessionHost } from './live-session.ts'
import { OpenStreams } from './open-streams.ts'
import { entryOf, PlaneSessions, permission } from './plane-sessions.ts'

/** What the control plane tells the gateway about sessions. */
export interface SessionHostEvents {
  established(facts: SessionFacts): void
  resumed(facts: SessionFacts): void
  channelChanged(facts: SessionFacts, change: ChannelChange): void
  closed(facts: SessionFacts, reason: CloseReason, seconds: number): void
  /** What was kept for addresses may go: they are free again, or what they reached is out of their reach. */
  released(addresses: LeasedAddresses, now: Milliseconds): void
  /** The data plane is lost, and with it all that the gateway is there for. */
  failed(error: Error): void
}

export interface SessionHostOptions {
  readonly config: GatewayConfig
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly leases: AddressLeases
  readonly events: SessionHostEvents
  /** Makes the stream channel of a session. */
  readonly openStream: OpenStream
  /** The UDP port that is announced; `undefined` without a datagram channel. */
  readonly datagramPort: number | undefined
  /** Who somebody is by now; `undefined` when they may not come in any more. */
  readonly recheck: (identity: Identity) => Identity | undefined
  /** Decides what they get. */
  readonly access: AccessControl
}

type Record = SessionRecord<Holding<LiveSession>>

/** The sessions of a gateway: cookies, addresses, live sessions, and who is who in the data plane. */
export class SessionHost implements LiveSessionHost {
  readonly clock: Clock
  readonly openStream: OpenStream
  /** Assigned before anybody gets in. */
  plane!: DataPlane
  /** Whom the data plane tells. */
  readonly inPlane: PlaneSessions
  config: GatewayConfig
  /** While draining nobody gets in, and sessions that lose their stream stay as they are. */
  draining = false
  private readonly options: SessionHostOptions
  private readonly registry: SessionRegistry<Holding<LiveSession>>
  private readonly registryDriver: Driver
  /** Sessions that are to be decided about anew, as hours begin or end. */
  private readonly reviews = new Reviews()
  private readonly reviewDriver: Driver
  private readonly streams = new OpenStreams()

  constructor(options: SessionHostOptions) {
    this.options = options
    this.config = options.config
    this.clock = options.clock
    this.openStream = options.openStream
    this.inPlane = new PlaneSessions({
      capacity: numbersFor(options.config.session.maxSessions),
      log: options.log,
      noteActivity: ({ id }, now) => this.registry.noteActivity(id, now),
      failed: options.events.failed,
    })
    this.registry = new SessionRegistry({
      random: options.random,
      hash: bytes => createHash('sha256').update(bytes).digest(),
      limits: registryLimits(options.config.session),
    })
    this.registryDriver = drive(this.registry, {
      clock: this.clock,
      onOutput: (output, now) => this.handleEnded(output, now),
    })
    this.reviewDriver = drive(this.reviews, {
      clock: this.clock,
      onOutput: id =>
        this.registryDriver.input(now => {
          const record = this.registry.find(id)
          if (record) this.review(record, now)
        }),
    })
  }

  /** How many sessions there are, connected or not. */
  get size(): number {
    return this.registry.size
  }

  list(): SessionFacts[] {
    return Array.from(this.registry.sessions(), record => factsOf(record, this.plane))
  }

  /**
   * From now on sessions and reconnections get what this configuration grants. Sessions of users who may not come in any
   * more are ended.
   */
  reconfigure(config: GatewayConfig): void {
    this.config = config
    this.registryDriver.input(now => {
      this.registry.setLimits(registryLimits(config.session), now)
      for (const record of [...this.registry.sessions()]) this.review(record, now)
    })
  }

  /** Somebody has passed every check. */
  openSession(identity: LoginIdentity, context: LoginContext): SessionGrant {
    if (this.draining) return { refused: 'The gateway is shutting down' }
    const known = identityOf(identity)
    const { remoteAddress, userAgent } = context
    const decision = this.options.access.decide(known, { remoteAddress, userAgent })
    if (decision.effect === 'refuse') {
      this.tellRefusal(known, decision, remoteAddress)
      return { refused: refusalText(decision) }
    }
    const maxSeconds = longestSeconds(decision.terms, known, this.clock.wallClock())
    let grant: SessionGrant = { refused: 'Internal error' }
    this.registryDriver.input(now => {
      const opened = this.registry.open(identity, now, maxSeconds)
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
      const identity = this.recheck(session.identity)
      if (!identity) {
        attempt.refuse(401, 'The user may not connect any more')
        this.registry.end(session.id, 'terminated')
        return
      }
      const { remoteAddress, request } = attempt
      const decision = this.options.access.decide(identity, { remoteAddress, userAgent: request.userAgent })
      if (decision.effect === 'refuse') {
        this.tellRefusal(identity, decision, remoteAddress)
        attempt.refuse(401, refusalText(decision))
        this.registry.end(session.id, 'terminated')
        return
      }
      const holding = session.lease ?? this.hold(identity, decision.terms, attempt, now)
      if (typeof holding === 'string') {
        attempt.refuse(503, holding)
        this.registry.end(session.id, 'terminated')
        return
      }
      session.lease = holding
      this.takeDecision(session, holding, decision, now)
      const isConnected = this.connect(session, holding, attempt, now)
      // The client has gone meanwhile; a stream from before may be left.
      if (!isConnected && !holding.live?.hasStream) this.registry.streamLost(session.id, stream, now)
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
    this.inPlane.isDraining = true
    this.plane.command({ type: 'drain' })
    for (const record of [...this.registry.sessions()]) record.lease?.live?.disconnect(reason)
  }

  /** Ends everything. Resolves when the streams have taken their goodbye. */
  async stop(): Promise<void> {
    this.endAll('gateway-shutdown')
    this.registryDriver.stop()
    this.reviewDriver.stop()
    await this.streams.closed()
  }

  /** Cuts the streams that are still being ended. */
  destroyStreams(): void {
    this.streams.destroy()
  }

  // Of live sessions.

  handleChannelChange(session: LiveSession, change: ChannelChange): void {
    const record = this.inPlane.numbers.find(session.index)
    if (record?.lease) this.options.events.channelChanged(factsOf(record, this.plane), change)
  }

  handleStreamLoss(session: LiveSession): void {
    const record = this.inPlane.numbers.find(session.index)
    if (record) this.registryDriver.input(now => this.registry.streamLost(record.id, record.stream, now))
  }

  handleClosed(session: LiveSession, reason: CloseReason, text: string): void {
    const record = this.inPlane.numbers.find(session.index)
    if (!record?.lease) return
    const facts = factsOf(record, this.plane)
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

  private hold(
    identity: Identity,
    terms: AccessTerms,
    { request, remoteAddress, pskKey }: TunnelAttempt,
    now: Milliseconds,
  ): Holding<LiveSession> | string {
    const { leases, log } = this.options
    const addresses = leaseFor(leases, { identity, terms, request }, log, now)
    if (typeof addresses === 'string') return addresses
    return newHolding(addresses, { remoteAddress, userAgent: request.userAgent, pskKey })
  }

  /** Decides anew about somebody who is in: they may have to leave, or get other terms. */
  private review(record: Record, now: Milliseconds): void {
    const identity = this.recheck(record.identity)
    if (!identity) {
      this.registry.end(record.id, 'terminated')
      return
    }
    const { lease } = record
    // Before its first tunnel there is nothing to take away: it is decided then.
    if (!lease) return
    const { remoteAddress, userAgent } = lease
    const decision = this.options.access.decide(identity, { remoteAddress, userAgent })
    if (decision.effect === 'refuse') {
      this.tellRefusal(identity, decision, remoteAddress)
      this.registry.end(record.id, 'terminated')
      return
    }
    this.takeDecision(record, lease, decision, now)
    this.setRate(record)
  }

  /** From now on a session has these terms. What it may not reach any more is out of its reach at once, flows included. */
  private takeDecision(
    record: Record,
    holding: Holding<LiveSession>,
    { rule, effect, terms, changesAt }: AccessDecision,
    now: Milliseconds,
  ): void {
    const permissions = planePermissions(terms)
    holding.terms = terms
    this.reviews.set(record.id, changesAt === undefined ? undefined : now + changesAt - this.clock.wallClock())
    this.reviewDriver.settle()
    if (samePermissions(permissions, holding.permissions)) return
    holding.permissions = permissions
    const user = record.identity.username
    this.options.log.info('session may reach other destinations', { session: String(record.id), user, effect, rule })
    if (!holding.live) return
    this.plane.command({ type: 'set-permissions', session: holding.live.index, permissions })
    if (permissions) this.options.events.released(holding.addresses, now)
  }

  private tellRefusal({ username, token }: Identity, { rule, trace }: AccessDecision, remote: string): void {
    const because = trace.at(-1)?.because
    this.options.log.warn('access refused', { user: username, remote, rule, because, token: token?.id })
  }

  private recheck(identity: LoginIdentity): Identity | undefined {
    return this.options.recheck(identityOf(identity))
  }

  /** Tells the data plane what a session may carry, unless it knows. */
  private setRate({ identity, lease }: Record): void {
    if (!lease?.live) return
    const rate = rateOf(this.config.session, { ...lease.terms.rate, ...this.recheck(identity)?.rate })
    if (rate.upload === lease.rate.upload && rate.download === lease.rate.download) return
    lease.rate = rate
    this.plane.command({ type: 'set-rate', session: lease.live.index, rate })
  }

  private announce(record: Record, holding: Holding<LiveSession>): void {
    const { established, resumed } = this.options.events
    const facts = factsOf(record, this.plane)
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
      terms: holding.terms,
    }
    const parameters = grantParameters(this.config, input)
    const isNew = holding.live === undefined
    const { appId, pskKey } = holding
    holding.live ??= this.install(record, holding, parameters)
    if (!holding.live) {
      attempt.refuse(503, 'Too many sessions')
      return false
    }
    holding.appId = datagram?.appId
    holding.pskKey = attempt.pskKey
    // Before the client hears of it: its first datagram may overtake whatever is told later.
    this.plane.command(permission(holding.live.index, holding))
    const established = attempt.accept(parameters)
    if (!established) {
      holding.appId = appId
      holding.pskKey = pskKey
      if (isNew) this.discard(holding, holding.live)
      else this.plane.command(permission(holding.live.index, holding))
      return false
    }
    holding.remoteAddress = attempt.remoteAddress
    holding.userAgent = request.userAgent
    holding.outerFamily = input.outerFamily
    holding.linkMtu = parameters.baseMtu
    this.setRate(record)
    this.streams.add(established.transport)
    const { live } = holding
    this.announce(record, holding)
    // Whoever hears of it may have ended it.
    if (holding.live === live) live.attachStream(established, parameters)
    else established.transport.destroy()
    return true
  }

  private install(
    record: Record,
    holding: Holding<LiveSession>,
    parameters: TunnelParameters,
  ): LiveSession | undefined {
    const index = this.inPlane.numbers.take(record)
    if (index === undefined) return undefined
    this.plane.command({ type: 'install-session', session: index, entry: entryOf(holding, parameters.mtu) })
    return new LiveSession(this, index, parameters)
  }

  private handleEnded({ session, reason }: SessionRegistryOutput<Holding<LiveSession>>, now: Milliseconds): void {
    session.lease?.live?.disconnect(closeReasons[reason])
    // While one of its outputs is being handled it is not gone yet: `handleClosed` follows.
    if (!session.lease?.live) this.release(session, now)
  }

  /** Nothing is left of a session: its addresses are free. */
  private release(record: Record, now: Milliseconds): void {
    const holding = record.lease
    this.reviews.set(record.id, undefined)
    if (!holding) return
    record.lease = undefined
    this.options.leases.release(holding.addresses, now)
    this.options.events.released(holding.addresses, now)
  }

  private forgetLive(holding: Holding<LiveSession>): void {
    const { live } = holding
    if (!live) return
    const { outbound, inbound } = bytesOf(holding, this.plane)
    holding.bytesOutbound = outbound
    holding.bytesInbound = inbound
    this.discard(holding, live)
  }

  private discard(holding: Holding<LiveSession>, live: LiveSession): void {
    live.discard()
    holding.live = undefined
    holding.rate = {}
    this.inPlane.numbers.rest(live.index)
    this.plane.command({ type: 'remove-session', session: live.index })
  }
}
