import { createSecureContext } from 'node:tls'
import { EventEmitter } from 'eventemitter3'
import type { Authenticator } from '../../auth/authenticator.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import type { PlaneStats } from '../../data-plane/engine.ts'
import type { StreamRecordStats } from '../../data-plane/stream/io/stream-opener.ts'
import type { Egress, EgressSettings } from '../../egress/egress.ts'
import { SocketsEgress, type SocketsEgressStats } from '../../egress/sockets/io/sockets-egress.ts'
import { GatewayError } from '../../errors.ts'
import type { RunnableGateway } from '../../gateway.ts'
import { loadServerIdentity, readPem, type ServerIdentity } from '../../identity/io/server-identity.ts'
import { type Logger, silentLogger } from '../../log/logger.ts'
import { needsRestart } from '../needs-restart.ts'
import type { GatewayEvents, SessionFacts } from '../session-facts.ts'
import { composeGateway, openPolicy, type RunningGateway } from './compose-gateway.ts'
import { refusedDestinations } from './refused-destinations.ts'
import { logSessions } from './session-lines.ts'

/** What a gateway takes beside its configuration. */
export interface GatewayHands {
  /** @defaultValue a logger that says nothing */
  readonly log?: Logger
  /** Tells gateways of one host apart, in names of rules. @defaultValue `gw` and the port */
  readonly instance?: string
  /** What `dataPlane.driver: auto` stands for where it can be had. @defaultValue 'loop' */
  readonly preferredDriver?: 'worker' | 'loop'
  /** Plug-ins that are asked who may come in, before those of the configuration. @defaultValue none */
  readonly authenticators?: readonly Authenticator[]
  /** The way out. @defaultValue what the configuration asks for */
  readonly egress?: Egress
  /**
   * With `egress.mode: sockets`: where a client's flow to a destination goes in its place, whatever the rules say about
   * that; `undefined`: to the destination. A program that has a server of its own for clients gives it an address so.
   */
  readonly redirect?: NonNullable<EgressSettings['redirect']>
}

/** Counts of a running gateway since its start. */
export interface GatewayStats {
  readonly sessions: number
  /** What runs the data plane, and how often it was started anew after it had died. */
  readonly dataPlane: {
    readonly driver: 'worker' | 'loop' | 'portable'
    readonly workers: number
    readonly restarts: number
    /** The last time that it was; absent when it never was. `at`: milliseconds since 1970; `worker`: which of several. */
    readonly lastRestart?: { readonly at: number; readonly reason: string; readonly worker?: number }
  }
  /** Dropped packets by the name of the reason (`DropReason` of `@twinbore/core/packet`); reasons without drops are absent. */
  readonly drops: Readonly<Record<string, number>>
  readonly control: ReturnType<RunningGateway['listener']['stats']>
  /** Who made the records of the stream channels. */
  readonly streams: StreamRecordStats
  /** Absent without a datagram channel. */
  readonly datagram: PlaneStats['datagram']
  /** The UDP socket of the datagram channels; absent without them. */
  readonly socket: PlaneStats['socket']
  /** Clients that are heard by another worker than the one that has their association; absent unless there are several. */
  readonly roaming: PlaneStats['roaming']
  /** Absent when the kernel translates. */
  readonly translator: PlaneStats['translator']
  /** Absent unless clients' flows leave by sockets. */
  readonly sockets: SocketsEgressStats | undefined
  readonly device: PlaneStats['device']
}

/** How long an orderly stop waits for requests that are being answered. */
const CLOSE_GRACE_SECONDS = 2

/** A gateway: opened by `start`, changed by `reload`, closed by `stop` or by the loss of its device. */
export class Gateway extends EventEmitter<GatewayEvents> implements RunnableGateway {
  address = ''
  port = 0
  readonly stopped: Promise<Error | undefined>
  private config: GatewayConfig
  private readonly hands: GatewayHands
  private readonly log: Logger
  private identity: ServerIdentity | undefined
  private starting: Promise<RunningGateway> | undefined
  private running: RunningGateway | undefined
  private reloading: Promise<void> = Promise.resolve()
  private stopping: Promise<void> | undefined
  private loss: GatewayError | undefined
  private resolveStopped!: (failure: Error | undefined) => void

  constructor(config: GatewayConfig, hands: GatewayHands = {}) {
    super()
    this.config = config
    this.hands = hands
    this.log = hands.log ?? silentLogger
    this.stopped = new Promise(resolve => {
      this.resolveStopped = resolve
    })
    logSessions(this, this.log)
  }

  get pin(): string {
    return this.identity?.pin ?? ''
  }

  /** The sessions of the moment, oldest first. */
  sessions(): SessionFacts[] {
    return this.running?.host.list() ?? []
  }

  /** Ends a session for good. Returns whether there was one. */
  endSession(id: number): boolean {
    return this.running?.host.end(id) ?? false
  }

  /** `undefined` unless the gateway runs. */
  stats(): GatewayStats | undefined {
    const { running } = this
    if (!running) return undefined
    const { host, plane, listener, egress, streams } = running
    const { drops, datagram, socket, roaming, translator, device } = plane.stats()
    return {
      sessions: host.size,
      dataPlane: {
        driver: plane.driver,
        workers: plane.workers,
        restarts: plane.restarts,
        ...(plane.lastRestart && { lastRestart: plane.lastRestart }),
      },
      drops,
      control: listener.stats(),
      streams: streams.stats(),
      datagram,
      socket,
      roaming,
      translator,
      sockets: egress instanceof SocketsEgress ? egress.stats() : undefined,
      device,
    }
  }

  async start(): Promise<void> {
    if (this.starting || this.stopping) throw new TypeError('a gateway is started once')
    const { log, instance, egress, authenticators = [], redirect, preferredDriver } = this.hands
    this.starting = composeGateway(this.config, {
      log: log ?? silentLogger,
      instance,
      egress,
      authenticators,
      redirect,
      preferredDriver,
      events: {
        established: session => this.emit('session-established', { session }),
        resumed: session => this.emit('session-resumed', { session }),
        channelChanged: (session, change) => this.emit('channel-changed', { session, ...change }),
        closed: (session, reason, seconds) => this.emit('session-closed', { session, reason, seconds }),
      },
      onLost: error => this.handleLoss(error),
    })
    let running: RunningGateway
    try {
      running = await this.starting
    } catch (error) {
      this.resolveStopped(undefined)
      throw error
    }
    if (this.stopping) {
      await this.stopping
      throw new GatewayError('ERR_GATEWAY_ABORTED', 'the gateway was stopped while it started')
    }
    running.listener.on('login-rejected', event => this.emit('login-rejected', event))
    this.identity = running.identity
    this.address = running.bound.address
    this.port = running.bound.port
    this.running = running
    const { address, port, pin } = this
    this.log.info('gateway started', { address, port, pin, egress: running.egress.mode })
  }

  reload(config: GatewayConfig): Promise<void> {
    // One after the other: each is compared with what the one before has left.
    const reloaded = this.reloading.then(() => this.takeConfig(config))
    this.reloading = reloaded.catch(() => {})
    return reloaded
  }

  stop({ immediately = false }: { readonly immediately?: boolean } = {}): Promise<void> {
    if (immediately) this.running?.host.destroyStreams()
    this.stopping ??= this.close(immediately ? 0 : CLOSE_GRACE_SECONDS)
    return this.stopping
  }

  private async takeConfig(config: GatewayConfig): Promise<void> {
    const { running } = this
    if (!running || this.stopping) throw new TypeError('the gateway is not running')
    const fixed = needsRestart(this.config, config)
    if (fixed.length > 0) {
      throw new GatewayError('ERR_GATEWAY_CONFIGURATION', `a restart is needed to change ${fixed.join(', ')}`)
    }
    // What can fail comes first, so that all of the old configuration stays in use if something does.
    const identity = await loadServerIdentity(config.tls)
    const clientCa = config.auth.clientCa && (await readPem(config.auth.clientCa, 'certificate'))
    const tls = { cert: identity.chain, key: identity.key }
    createSecureContext({ ...tls, ...(clientCa !== undefined && { ca: clientCa }) })
    const policy = await openPolicy(config)
    await running.authenticator.reload()
    running.access.policy = policy
    running.listener.setSecureContext(tls, clientCa)
    running.plane.command({ type: 'set-destinations', destinations: refusedDestinations(config) })
    running.host.reconfigure(config)
    this.identity = identity
    this.config = config
  }

  private handleLoss(error: Error): void {
    const isDevice = !(error instanceof GatewayError)
    this.loss = isDevice
      ? new GatewayError('ERR_GATEWAY_HOST', `the way out is lost: ${error.message}`, { cause: error })
      : error
    const what = isDevice ? 'device' : 'data plane'
    this.log.error(`the gateway stops: its ${what} is lost`, { reason: error.message })
    // `stopped` tells.
    this.stop().catch(() => {})
  }

  private async close(graceSeconds: number): Promise<void> {
    const running = await this.starting?.catch(() => undefined)
    let failure: Error | undefined
    if (running) {
      await Promise.all([running.listener.close(graceSeconds), running.host.stop()])
      const failures = await running.undo.run()
      for (const { message } of failures) this.log.error('something was not taken back', { reason: message })
      failure = failures[0]
    }
    if (this.running) this.log.info('gateway stopped')
    this.running = undefined
    this.resolveStopped(this.loss ?? failure)
    if (failure) throw failure
  }
}
