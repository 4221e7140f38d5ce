import type { CredentialsAnswer, CredentialsCheck } from '@twinbore/core'
import { ControlListener, drive, systemClock, systemRandom } from '@twinbore/core/io'
import type { Milliseconds } from '@twinbore/core/runtime'
import { type PatOutput, Translator } from '@twinbore/pat'
import type { DatagramSocket, PacketDevice } from '@twinbore/tun'
import { ConfiguredAuthenticator } from '../../auth/io/configured-authenticator.ts'
import { certificateField } from '../../auth/login-options.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import { GatewayDataPlane } from '../../data-plane/gateway-data-plane.ts'
import { SessionTable } from '../../data-plane/session-table.ts'
import type { Egress, EgressSettings, Translation } from '../../egress/egress.ts'
import { createEgress } from '../../egress/io/create-egress.ts'
import { loadServerIdentity, readPem, type ServerIdentity } from '../../identity/io/server-identity.ts'
import { pumpWhileReadable } from '../../io/pump.ts'
import { UndoList } from '../../io/undo-list.ts'
import type { Logger } from '../../log/logger.ts'
import { AddressLeases } from '../address-leases.ts'
import { type BoundPort, bindPort } from './bind-port.ts'
import { DatagramListener } from './datagram-listener.ts'
import { refusedDestinations, refusedSocketDestinations } from './refused-destinations.ts'
import { SessionHost, type SessionHostEvents } from './session-host.ts'

export interface ComposeOptions {
  readonly log: Logger
  readonly instance: string | undefined
  readonly egress: Egress | undefined
  readonly redirect: EgressSettings['redirect']
  readonly events: Omit<SessionHostEvents, 'released'>
}

/** What a running gateway is made of. `undo` takes everything back. */
export interface RunningGateway {
  readonly identity: ServerIdentity
  readonly authenticator: ConfiguredAuthenticator
  readonly listener: ControlListener
  readonly bound: BoundPort
  readonly egress: Egress
  readonly host: SessionHost
  readonly plane: GatewayDataPlane
  readonly datagrams: DatagramListener | undefined
  readonly translator: Translator | undefined
  readonly undo: UndoList
}

/**
 * Opens everything a gateway consists of, or nothing:
 *
 *     identity, authenticator -> ports -> egress -> sessions -> datagram channels, translator -> data plane -> pumps
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
  const authenticator = await ConfiguredAuthenticator.open(config.auth)

  let host: SessionHost | undefined
  const listener = new ControlListener({
    tls: { cert: identity.chain, key: identity.key },
    ...(clientCa === undefined ? {} : { clientCa }),
    login: { methods: authenticator.methods, certificateIdentity: certificateField(config.auth) },
    checkCredentials: check => checkCredentials(authenticator, check, log),
    openSession: (user, context) => host?.openSession(user, context) ?? { refused: 'The gateway is starting' },
  })
  undo.add(() => listener.close(0))
  const bound = await bindPort(listener, config.listen, config.datagram.enabled)
  undo.add(() => bound.socket?.close())

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
      listenPorts: [bound.port],
      destinations: config.routes.include,
      refused: () => refusedSocketDestinations(config),
      forward: config.dns.forward,
      ...(options.redirect && { redirect: options.redirect }),
      log,
    })
  undo.add(() => egress.stop())
  await egress.start()

  const translation = egress.translation && makeTranslator(config, egress.translation)
  const sessions = new SessionTable(config.session.maxSessions)
  let datagrams: DatagramListener | undefined
  host = new SessionHost({
    config,
    clock: systemClock,
    random: systemRandom,
    log,
    sessions,
    leases,
    datagramPort: bound.socket && bound.port,
    factsOf: username => authenticator.factsOf(username),
    closeAssociation: association => datagrams?.closeAssociation(association),
    events: {
      ...options.events,
      released: ({ ipv4, ipv6 }, now) => {
        if (ipv4) translation?.removeInside(ipv4.bytes, now)
        if (ipv6) translation?.removeInside(ipv6.bytes, now)
        if (ipv4) egress.removeClient?.(ipv4)
        if (ipv6) egress.removeClient?.(ipv6)
      },
    },
  })
  if (bound.socket) datagrams = openDatagrams(bound.socket, host, config, log)
  undo.add(() => datagrams?.stop())

  const plane = new GatewayDataPlane({
    sessions,
    outlets: host,
    device: egress.device,
    path: datagrams?.path,
    translator: translation,
    destinations: refusedDestinations(config),
    gatewayAddresses: { ipv4: gatewayAddresses.ipv4?.bytes, ipv6: gatewayAddresses.ipv6?.bytes },
    batch: { slotBytes: Math.max(LEAST_SLOT_BYTES, egress.device.mtu, config.mtu) },
    onTranslatorEvent: output => logTranslator(output, log),
  })
  host.plane = plane
  host.path = datagrams?.path
  startPumps({ host, plane, datagrams, socket: bound.socket, device: egress.device, translator: translation, undo })

  const accepting = host
  listener.on('tunnel', attempt => accepting.acceptTunnel(attempt))
  return { identity, authenticator, listener, bound, egress, host, plane, datagrams, translator: translation, undo }
}

/** Room for a full record of a usual link in each slot of a batch. */
const LEAST_SLOT_BYTES = 2048

async function checkCredentials(
  authenticator: ConfiguredAuthenticator,
  check: CredentialsCheck,
  log: Logger,
): Promise<CredentialsAnswer> {
  const result = await authenticator.check(check, AbortSignal.timeout(30_000))
  if (result.verdict === 'reject' || result.verdict === 'unavailable') {
    log.warn('login refused', { user: check.username, remote: check.remoteAddress, reason: result.reason })
  }
  return result
}

function makeTranslator(config: GatewayConfig, translation: Translation): Translator {
  const { outsideAddresses, gatewayAddresses, ...bounds } = translation
  return new Translator({
    ...bounds,
    random: systemRandom,
    outsideAddresses: outsideAddresses.map(({ bytes }) => bytes),
    gatewayAddresses: gatewayAddresses.map(({ bytes }) => bytes),
    insidePrefixes: [config.pool.ipv4, config.pool.ipv6].flatMap(prefix => prefix?.toString() ?? []),
  })
}

function openDatagrams(
  socket: DatagramSocket,
  host: SessionHost,
  config: GatewayConfig,
  log: Logger,
): DatagramListener {
  return new DatagramListener({
    socket,
    host,
    clock: systemClock,
    random: systemRandom,
    log,
    // While a session's new association is made, the old one still stands.
    maxAssociations: config.session.maxSessions * 2,
  })
}

interface Pumped {
  readonly host: SessionHost
  readonly plane: GatewayDataPlane
  readonly datagrams: DatagramListener | undefined
  readonly socket: DatagramSocket | undefined
  readonly device: PacketDevice
  readonly translator: Translator | undefined
  readonly undo: UndoList
}

/** Sets the loop of the data plane going: what arrives is pumped, and after each turn the machines have their say. */
function startPumps({ host, plane, datagrams, socket, device, translator, undo }: Pumped): void {
  const timers = translator && drive(translatorTimers(translator, plane), { onOutput: () => {} })
  undo.add(() => timers?.stop())
  const settle = () => {
    host.noteActivity(systemClock.now())
    datagrams?.settle()
    timers?.settle()
  }
  if (socket) {
    pumpWhileReadable(socket, () => plane.pumpSocket(systemClock.now()), settle)
    socket.onSendError = ({ endpoint, code, length }) => {
      if (code === 'EMSGSIZE') datagrams?.handleTooBig(endpoint, length)
    }
  }
  pumpWhileReadable(device, () => plane.pumpDevice(systemClock.now()), settle)
}

/** The translator's timers as a machine; what it puts out goes through the data plane. */
function translatorTimers(translator: Translator, plane: GatewayDataPlane) {
  return {
    get deadline(): Milliseconds | undefined {
      return translator.deadline
    },
    handleDeadline(now: Milliseconds): void {
      translator.handleDeadline(now)
      plane.drainTranslator(now)
    },
    poll: (): undefined => undefined,
  }
}

function logTranslator(output: PatOutput, log: Logger): void {
  if (output.type !== 'ports-exhausted') return
  const { resource, protocol, outsideAddress, refused } = output
  log.warn('new flows are refused: the translator is full', { resource, protocol, outsideAddress, refused })
}
