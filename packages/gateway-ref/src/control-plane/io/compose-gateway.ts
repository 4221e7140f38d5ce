import type { CredentialsAnswer, CredentialsCheck } from '@twinbore/core'
import { ControlListener, systemClock, systemRandom } from '@twinbore/core/io'
import type { AccessPolicy } from '../../access/access-policy.ts'
import { loadPolicy } from '../../access/io/load-policy.ts'
import type { Authenticator } from '../../auth/authenticator.ts'
import { AuthenticatorStack } from '../../auth/io/authenticator-stack.ts'
import { ConfiguredAuthenticator } from '../../auth/io/configured-authenticator.ts'
import { certificateField } from '../../auth/login-options.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import type { DataPlane } from '../../data-plane/data-plane.ts'
import type { PlaneSettings } from '../../data-plane/engine.ts'
import { openDataPlane } from '../../data-plane/io/open-data-plane.ts'
import { planeFacts } from '../../data-plane/io/plane-facts.ts'
import { configuredStreamCipher } from '../../data-plane/stream/io/stream-ciphers.ts'
import { StreamOpener } from '../../data-plane/stream/io/stream-opener.ts'
import type { Egress, EgressSettings, Translation } from '../../egress/egress.ts'
import { createEgress } from '../../egress/io/create-egress.ts'
import { loadServerIdentity, readPem, type ServerIdentity } from '../../identity/io/server-identity.ts'
import { UndoList } from '../../io/undo-list.ts'
import type { Logger } from '../../log/logger.ts'
import { AccessControl } from '../access-control.ts'
import { AddressLeases } from '../address-leases.ts'
import { numbersFor } from '../session-numbers.ts'
import { type BoundPort, bindPort } from './bind-port.ts'
import { socketNotices } from './plane-lines.ts'
import { refusedDestinations, refusedSocketDestinations } from './refused-destinations.ts'
import { SessionHost, type SessionHostEvents } from './session-host.ts'

export interface ComposeOptions {
  readonly log: Logger
  readonly instance: string | undefined
  readonly egress: Egress | undefined
  /** Asked before those of the configuration. */
  readonly authenticators: readonly Authenticator[]
  readonly redirect: EgressSettings['redirect']
  readonly preferredDriver: 'worker' | 'loop' | undefined
  readonly events: Omit<SessionHostEvents, 'released' | 'failed'>
  /** The way out is lost, or, with a `GatewayError`, the data plane. */
  readonly onLost: (error: Error) => void
}

/** What a running gateway is made of. `undo` takes everything back. */
export interface RunningGateway {
  readonly identity: ServerIdentity
  readonly authenticator: AuthenticatorStack
  readonly access: AccessControl
  readonly listener: ControlListener
  readonly bound: BoundPort
  readonly egress: Egress
  readonly host: SessionHost
  readonly plane: DataPlane
  readonly streams: StreamOpener
  readonly undo: UndoList
}

/**
 * Opens everything a gateway consists of, or nothing:
 *
 *     identity, authenticator -> ports -> egress -> sessions -> data plane
 *
 * Nobody gets in before all of it stands.
 */
export async function composeGateway(config: GatewayConfig, options: ComposeOptions): Promise<RunningGateway> {
  const undo = new UndoList()
  try {
    return await compose(config, options, undo)
  } catch (error) {
    for (const failure of await undo.run()) {
      options.log.warn('something of a failed start was not taken back', { reason: failure.message })
    }
    throw error
  }
}

async function compose(config: GatewayConfig, options: ComposeOptions, undo: UndoList): Promise<RunningGateway> {
  const { log } = options
  const identity = await loadServerIdentity(config.tls)
  const clientCa = config.auth.clientCa && (await readPem(config.auth.clientCa, 'certificate'))
  const authenticator = await openAuthenticators(config, options)
  undo.add(() => authenticator.close())

  const access = new AccessControl(await openPolicy(config), () => systemClock.wallClock())

  const { offload } = config.dataPlane
  const recordCipher = configuredStreamCipher(config.dataPlane)
  const onNotice = socketNotices(log)
  let host: SessionHost | undefined
  const listener = new ControlListener({
    tls: { cert: identity.chain, key: identity.key },
    ...(clientCa === undefined ? {} : { clientCa }),
    login: { methods: authenticator.methods, certificateIdentity: certificateField(config.auth) },
    ...(recordCipher && { recordCipher }),
    checkCredentials: check => checkCredentials(authenticator, check, log),
    openSession: (user, context) => host?.openSession(user, context) ?? { refused: 'The gateway is starting' },
  })
  undo.add(() => listener.close(0))
  const bound = await bindPort(listener, config.listen, {
    sockets: config.datagram.enabled ? config.dataPlane.workers : 0,
    native: config.dataPlane.driver !== 'portable',
    gso: offload.gso,
    gro: offload.gro,
    onNotice,
  })
  undo.add(() => {
    for (const socket of bound.sockets) socket.close()
  })

  const leases = new AddressLeases(config.pool)
  const gatewayAddresses = { ipv4: leases.gateway(4), ipv6: leases.gateway(6) }
  const egress =
    options.egress ??
    createEgress({
      instance: options.instance ?? `gw${bound.port}`,
      config: config.egress,
      pool: config.pool,
      gatewayAddresses,
      mtu: config.mtu,
      queues: config.dataPlane.workers,
      listenPorts: [bound.port],
      destinations: config.routes.include,
      refused: () => refusedSocketDestinations(config),
      forward: config.dns.forward,
      offload: offload.tun,
      ...(options.redirect && { redirect: options.redirect }),
      log,
    })
  undo.add(() => egress.stop())
  await egress.start()

  const streams = new StreamOpener(log)
  host = new SessionHost({
    config,
    clock: systemClock,
    random: systemRandom,
    log,
    leases,
    datagramPort: bound.sockets.length > 0 ? bound.port : undefined,
    openStream: streams.open,
    recheck: identity => authenticator.recheck(identity),
    access,
    events: {
      ...options.events,
      failed: options.onLost,
      released: ({ ipv4, ipv6 }) => {
        for (const address of [ipv4, ipv6]) {
          if (!address) continue
          plane.command({ type: 'remove-inside', address: address.bytes })
          egress.removeClient?.(address)
        }
      },
    },
  })
  egress.device.onLost = options.onLost
  const plane = await openDataPlane(planeSettings(config, egress, gatewayAddresses), {
    config: config.dataPlane,
    preferred: options.preferredDriver ?? 'loop',
    host: host.inPlane,
    egress,
    sockets: bound.sockets,
    onNotice,
    log,
  })
  undo.add(() => plane.stop())
  host.plane = plane
  log.info('data plane', planeFacts(config.dataPlane, plane, egress.device, bound.sockets[0]))

  const accepting = host
  listener.on('tunnel', attempt => accepting.acceptTunnel(attempt))
  return { identity, authenticator, access, listener, bound, egress, host, plane, streams, undo }
}

async function openAuthenticators(
  config: GatewayConfig,
  { authenticators, log }: ComposeOptions,
): Promise<AuthenticatorStack> {
  return new AuthenticatorStack([...authenticators, await ConfiguredAuthenticator.open(config.auth)], {
    onFault: (name, fault) => log.error('an authenticator failed', { authenticator: name, reason: fault }),
  })
}

/** The access policy that a configuration names. @throws GatewayError with every mistake in it */
export async function openPolicy({ access }: GatewayConfig): Promise<AccessPolicy | undefined> {
  return access === undefined ? undefined : (await loadPolicy(access)).policy
}

async function checkCredentials(
  authenticator: AuthenticatorStack,
  check: CredentialsCheck,
  log: Logger,
): Promise<CredentialsAnswer> {
  const result = await authenticator.check(check)
  if (result.verdict === 'accept') {
    const { identity, group } = result
    return { verdict: 'accept', username: identity.username, details: identity, ...(group !== undefined && { group }) }
  }
  if (result.verdict !== 'challenge') {
    const { reason, detail } = result
    const user = check.username === '' ? undefined : check.username
    log.warn('login refused', {
      user,
      remote: check.remoteAddress,
      authenticator: result.authenticator,
      reason,
      detail,
    })
  }
  return result
}

function planeSettings(
  config: GatewayConfig,
  egress: Egress,
  { ipv4, ipv6 }: EgressSettings['gatewayAddresses'],
): PlaneSettings {
  return {
    capacity: numbersFor(config.session.maxSessions),
    // While a session's new association is made, the old one still stands.
    maxAssociations: config.session.maxSessions * 2,
    translation: egress.translation && translationOptions(config, egress.translation),
    destinations: refusedDestinations(config),
    gatewayAddresses: { ipv4: ipv4?.bytes, ipv6: ipv6?.bytes },
    mtu: config.mtu,
  }
}

function translationOptions(config: GatewayConfig, translation: Translation): PlaneSettings['translation'] {
  const { outsideAddresses, gatewayAddresses, ...bounds } = translation
  return {
    ...bounds,
    outsideAddresses: outsideAddresses.map(({ bytes }) => bytes),
    gatewayAddresses: gatewayAddresses.map(({ bytes }) => bytes),
    insidePrefixes: [config.pool.ipv4, config.pool.ipv6].flatMap(prefix => prefix?.toString() ?? []),
  }
}
