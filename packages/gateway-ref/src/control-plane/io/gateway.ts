import { networkInterfaces } from 'node:os'
import type { CredentialsAnswer, CredentialsCheck } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { ControlListener, type Driver, drive, systemClock, systemRandom } from '@twinbore/core/io'
import type { PacketBatchOptions } from '@twinbore/core/packet'
import type { Machine } from '@twinbore/core/runtime'
import { type PatOutput, Translator } from '@twinbore/pat'
import type { DatagramSocket } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { EventEmitter } from 'eventemitter3'
import { ConfiguredAuthenticator } from '../../auth/io/configured-authenticator.ts'
import { certificateField } from '../../auth/login-options.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import { deniedDestinations } from '../../data-plane/denied-destinations.ts'
import { GatewayDataPlane } from '../../data-plane/gateway-data-plane.ts'
import { SessionTable } from '../../data-plane/session-table.ts'
import type { Egress } from '../../egress/egress.ts'
import { createEgress } from '../../egress/io/create-egress.ts'
import { GatewayError } from '../../errors.ts'
import type { RunnableGateway } from '../../gateway.ts'
import { loadServerIdentity, readPem, type ServerIdentity } from '../../identity/io/server-identity.ts'
import { pumpWhileReadable } from '../../io/pump.ts'
import { type Logger, silentLogger } from '../../log/logger.ts'
import { AddressLeases } from '../address-leases.ts'
import { needsRestart } from '../needs-restart.ts'
import type { GatewayEvents, SessionFacts } from '../session-facts.ts'
import { DatagramListener } from './datagram-listener.ts'
import { SessionHost } from './session-host.ts'
import { logSessions } from './session-lines.ts'

/** What a gateway takes beside its configuration. */
export interface GatewayHands {
  /** @defaultValue a logger that says nothing */
  readonly log?: Logger
  /** Tells gateways of one host apart, in names of rules. @defaultValue `gw` and the port */
  readonly instance?: string
  /** The way out. @defaultValue what the configuration asks for */
  readonly egress?: Egress
}

/** What `start` has opened. */
interface Running {
  readonly authenticator: ConfiguredAuthenticator
  readonly egress: Egress
  readonly listener: ControlListener
  readonly host: SessionHost
  readonly datagrams: DatagramListener | undefined
  readonly socket: DatagramSocket | undefined
  readonly translator: Translator | undefined
  readonly translatorDriver: Driver | undefined
}

/** How long an orderly stop waits for requests that are being answered. */
const CLOSE_GRACE_SECONDS = 2
/** A TCP port that the system chose may be taken for UDP: so many others are tried. */
const PORT_TRIES = 16

/** A gateway: the composition of everything else. */
export class Gateway extends EventEmitter<GatewayEvents> implements RunnableGateway {
  address = ''
  port = 0
  readonly stopped: Promise<Error | undefined>
  private config: GatewayConfig
  private readonly hands: GatewayHands
  private readonly log: Logger
  private identity: ServerIdentity | undefined
  private running: Running | undefined
  private stopping: Promise<void> | undefined
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

  async start(): Promise<void> {
    if (this.running || this.stopping) throw new TypeError('a gateway is started once')
    const { config, log } = this
    const undo: (() => unknown)[] = []
    try {
      const identity = await loadServerIdentity(config.tls)
      const clientCa = config.auth.clientCa && (await readPem(config.auth.clientCa, 'certificate'))
      const authenticator = await ConfiguredAuthenticator.open(config.auth)
      const leases = new AddressLeases(config.pool)
      const sessions = new SessionTable(config.session.maxSessions)

      const batch: { slotBytes: number } & PacketBatchOptions = { slotBytes: 2048 }
      let listenPort: number | undefined
      let datagrams: DatagramListener | undefined
      let translator: Translator | undefined
      const host = new SessionHost({
        config,
        clock: systemClock,
        random: systemRandom,
        log,
        sessions,
        leases,
        batch,
        datagramPort: () => (datagrams ? listenPort : undefined),
        factsOf: username => authenticator.factsOf(username),
        closeAssociation: association => datagrams?.closeAssociation(association),
        events: {
          established: session => this.emit('session-established', { session }),
          resumed: session => this.emit('session-resumed', { session }),
          channelChanged: (session, change) => this.emit('channel-changed', { session, ...change }),
          closed: (session, reason, seconds) => this.emit('session-closed', { session, reason, seconds }),
          released: ({ ipv4, ipv6 }, now) => {
            if (ipv4) translator?.removeInside(ipv4.bytes, now)
            if (ipv6) translator?.removeInside(ipv6.bytes, now)
          },
        },
      })
      host.draining = true
      const listener = new ControlListener({
        tls: { cert: identity.chain, key: identity.key },
        ...(clientCa === undefined ? {} : { clientCa }),
        login: { methods: authenticator.methods, certificateIdentity: certificateField(config.auth) },
        checkCredentials: check => this.check(authenticator, check),
        openSession: (user, context) => host.openSession(user, context),
      })
      undo.push(() => listener.close(0))
      listener.on('tunnel', attempt => host.acceptTunnel(attempt))

      const { endpoint, socket } = await this.bind(listener)
      undo.push(() => socket?.close())
      listenPort = endpoint.port

      const gatewayAddresses = { ipv4: leases.gateway(4), ipv6: leases.gateway(6) }
      const egress =
        this.hands.egress ??
        createEgress({
          instance: this.hands.instance ?? `gw${endpoint.port}`,
          config: config.egress,
          pool: config.pool,
          gatewayAddresses,
          mtu: config.mtu,
          listenPorts: [endpoint.port],
          destinations: config.routes.include,
          log,
        })
      await egress.start()
      undo.push(() => egress.stop())
      batch.slotBytes = Math.max(2048, egress.device.mtu)

      if (socket) {
        datagrams = new DatagramListener({
          socket,
          host,
          clock: systemClock,
          random: systemRandom,
          log,
          // While a session's new association is made, the old one still stands.
          maxAssociations: config.session.maxSessions * 2,
        })
        undo.push(() => datagrams?.stop())
      }
      if (egress.translation) {
        const { outsideAddresses, gatewayAddresses: errorSources, ...bounds } = egress.translation
        translator = new Translator({
          ...bounds,
          random: systemRandom,
          outsideAddresses: outsideAddresses.map(({ bytes }) => bytes),
          gatewayAddresses: errorSources.map(({ bytes }) => bytes),
          insidePrefixes: [config.pool.ipv4, config.pool.ipv6].flatMap(prefix => prefix?.toString() ?? []),
        })
      }
      const plane = new GatewayDataPlane({
        sessions,
        outlets: host,
        device: egress.device,
        path: datagrams?.path,
        translator,
        destinations: deniedDestinations({
          pools: [config.pool.ipv4, config.pool.ipv6].flatMap(prefix => prefix ?? []),
          ownAddresses: ownAddresses(),
          allowed: config.dns.servers,
        }),
        gatewayAddresses: { ipv4: gatewayAddresses.ipv4?.bytes, ipv6: gatewayAddresses.ipv6?.bytes },
        batch,
        onTranslatorEvent: output => this.logTranslator(output),
      })
      host.plane = plane
      host.path = datagrams?.path
      const translatorDriver = translator && drive(translatorMachine(translator, plane), { onOutput: () => {} })
      undo.push(() => translatorDriver?.stop())

      const settle = () => {
        host.noteActivity(systemClock.now())
        datagrams?.settle()
        translatorDriver?.settle()
      }
      if (socket) {
        pumpWhileReadable(socket, () => plane.pumpSocket(systemClock.now()), settle)
        socket.onSendError = ({ endpoint: peer, code, length }) => {
          if (code === 'EMSGSIZE') datagrams?.handleTooBig(peer, length)
        }
      }
      pumpWhileReadable(egress.device, () => plane.pumpDevice(systemClock.now()), settle)

      listener.on('login-rejected', event => this.emit('login-rejected', event))
      this.identity = identity
      this.address = endpoint.address
      this.port = endpoint.port
      this.running = { authenticator, egress, listener, host, datagrams, socket, translator, translatorDriver }
      host.draining = false
    } catch (error) {
      for (const step of undo.reverse()) await step()
      this.resolveStopped(undefined)
      throw error
    }
  }

  async reload(config: GatewayConfig): Promise<void> {
    const { running } = this
    if (!running) throw new TypeError('the gateway is not running')
    const fixed = needsRestart(this.config, config)
    if (fixed.length > 0) {
      throw new GatewayError('ERR_GATEWAY_CONFIGURATION', `a restart is needed to change ${fixed.join(', ')}`)
    }
    const identity = await loadServerIdentity(config.tls)
    await running.authenticator.reload()
    const clientCa = config.auth.clientCa && (await readPem(config.auth.clientCa, 'certificate'))
    running.listener.setSecureContext({ cert: identity.chain, key: identity.key }, clientCa)
    running.host.reconfigure(config)
    this.identity = identity
    this.config = config
  }

  stop({ immediately = false }: { readonly immediately?: boolean } = {}): Promise<void> {
    if (immediately) this.running?.host.destroyStreams()
    this.stopping ??= this.close(immediately ? 0 : CLOSE_GRACE_SECONDS)
    return this.stopping
  }

  private async close(graceSeconds: number): Promise<void> {
    const { running } = this
    if (!running) {
      this.resolveStopped(undefined)
      return
    }
    const { egress, listener, host, datagrams, socket, translatorDriver } = running
    try {
      const streamsEnded = host.stop()
      await Promise.all([listener.close(graceSeconds), streamsEnded])
    } finally {
      datagrams?.stop()
      translatorDriver?.stop()
      socket?.close()
      await egress.stop()
      this.running = undefined
      this.resolveStopped(undefined)
    }
  }

  /** TCP and UDP on one port. */
  private async bind(listener: ControlListener): Promise<{
    endpoint: { address: string; port: number }
    socket: DatagramSocket | undefined
  }> {
    const { listen, datagram } = this.config
    let socket: DatagramSocket | undefined
    for (let attempt = 1; ; attempt++) {
      try {
        if (datagram.enabled) socket = await openDatagramSocket({ address: listen.address, port: listen.port })
        const endpoint = await listener.listen({
          address: listen.address,
          port: socket?.localPort ?? listen.port,
        })
        return { endpoint, socket }
      } catch (cause) {
        socket?.close()
        const code = (cause as NodeJS.ErrnoException).code
        if (listen.port === 0 && code === 'EADDRINUSE' && attempt < PORT_TRIES) continue
        throw new GatewayError(
          'ERR_GATEWAY_HOST',
          `can't listen on ${listen.address} port ${listen.port}: ${refusalText(code) ?? String(cause)}`,
          { cause },
        )
      }
    }
  }

  private async check(authenticator: ConfiguredAuthenticator, check: CredentialsCheck): Promise<CredentialsAnswer> {
    const result = await authenticator.check(check, AbortSignal.timeout(30_000))
    if (result.verdict === 'reject' || result.verdict === 'unavailable') {
      this.log.warn('credentials refused', {
        user: check.username,
        remote: check.remoteAddress,
        reason: result.reason,
      })
    }
    return result
  }

  private logTranslator(output: PatOutput): void {
    if (output.type !== 'ports-exhausted') return
    const { resource, protocol, outsideAddress, refused } = output
    this.log.warn('new flows are refused: the translator is full', { resource, protocol, outsideAddress, refused })
  }
}

/** The translator's timers; its outputs go through the data plane. */
function translatorMachine(translator: Translator, plane: GatewayDataPlane): Machine<never> {
  return {
    get deadline() {
      return translator.deadline
    },
    handleDeadline(now) {
      translator.handleDeadline(now)
      plane.drainTranslator(now)
    },
    poll: () => undefined,
  }
}

function ownAddresses(): IpAddress[] {
  return Object.values(networkInterfaces())
    .flat()
    .flatMap(entry => (entry && IpAddress.parse(entry.address.split('%')[0]!)) ?? [])
}

function refusalText(code: string | undefined): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return 'another program has this port'
    case 'EACCES':
      return 'ports below 1024 need root or CAP_NET_BIND_SERVICE'
    case 'EADDRNOTAVAIL':
      return 'this host does not have that address'
    default:
      return undefined
  }
}
