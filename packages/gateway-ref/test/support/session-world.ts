import { StreamChannel } from '@twinbore/core/io'
import { seededRandom } from '@twinbore/core/runtime'
import { nodeCrypto } from '@twinbore/dtls/io'
import type { Identity } from '../../src/auth/authenticator.ts'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { AccessControl } from '../../src/control-plane/access-control.ts'
import { AddressLeases } from '../../src/control-plane/address-leases.ts'
import { SessionHost } from '../../src/control-plane/io/session-host.ts'
import { numbersFor } from '../../src/control-plane/session-numbers.ts'
import type { PlaneCommand } from '../../src/data-plane/commands.ts'
import type { PlaneEvent } from '../../src/data-plane/events.ts'
import { LoopDriver } from '../../src/data-plane/io/loop-driver.ts'
import { configOf } from './config-of.ts'
import { FakeAttempt } from './fake-attempt.ts'
import { LogLines } from './gateway-world.ts'
import { PacketHost } from './packet-host.ts'

export function sessionWorld(options: Partial<GatewayOptions> = {}, { withDatagrams = true } = {}) {
  const began = Date.now()
  const clock = { now: () => Date.now() - began, wallClock: () => Date.now() }
  const config = configOf(options)
  const leases = new AddressLeases(config.pool)
  const log = new LogLines()
  const told: string[] = []
  const commands: PlaneCommand[] = []
  const users = new Map<string, Partial<Identity>>(['anna', 'otto', 'dora'].map(name => [name, {}]))
  /** Runs inside the events. */
  const onEvent: { run?: (text: string) => void } = {}
  const tell = (text: string) => {
    told.push(text)
    onEvent.run?.(text)
  }
  const access = new AccessControl(undefined, () => clock.wallClock())
  const host = new SessionHost({
    openStream: ({ socket }, handlers, packets) => new StreamChannel(socket, handlers, packets),
    config,
    clock,
    random: seededRandom(7),
    log,
    leases,
    datagramPort: withDatagrams ? 443 : undefined,
    recheck: identity => {
      const user = users.get(identity.username)
      return user && { ...identity, ...user }
    },
    access,
    events: {
      established: ({ id }) => tell(`established ${id}`),
      resumed: ({ id }) => tell(`resumed ${id}`),
      channelChanged: ({ id }, { from, to }) => tell(`${id} ${from} -> ${to}`),
      closed: ({ id }, reason) => tell(`closed ${id} ${reason}`),
      released: ({ ipv4 }) => tell(`released ${ipv4}`),
      failed: error => tell(`failed ${error.message}`),
    },
  })
  const network = new PacketHost()
  const plane = new LoopDriver(
    {
      capacity: numbersFor(config.session.maxSessions),
      maxAssociations: 16,
      translation: undefined,
      destinations: { pools: [], ownAddresses: [], allowed: [] },
      gatewayAddresses: {},
      mtu: config.mtu,
    },
    {
      host: host.inPlane,
      device: network.device,
      socket: undefined,
      crypto: nodeCrypto,
      random: seededRandom(8),
      clock,
    },
    'loop',
  )
  const carryOut = plane.command.bind(plane)
  plane.command = command => {
    commands.push(command)
    carryOut(command)
  }
  host.plane = plane
  /** The newest command of a type. */
  const commanded = <Type extends PlaneCommand['type']>(type: Type) =>
    commands.findLast((command): command is Extract<PlaneCommand, { type: Type }> => command.type === type)
  /** What the data plane says when a handshake is through. */
  const associate = (association: number, overhead = 37, session = 0) =>
    handle({
      type: 'association-established',
      session,
      association,
      overhead,
      maxPlaintextBytes: 16_384,
      address: '198.51.100.7',
      port: 40_000,
    })
  const installed = () => plane.stats().sessions
  const login = (username: string): string => {
    const grant = host.openSession({ username, method: 'password' }, { remoteAddress: '198.51.100.7' })
    if ('refused' in grant) throw new Error(grant.refused)
    return grant.cookie
  }
  const connect = (cookie: string | undefined, more: ConstructorParameters<typeof FakeAttempt>[1] = {}) => {
    const attempt = new FakeAttempt(cookie, more)
    host.acceptTunnel(attempt)
    return attempt
  }
  const handle = (event: PlaneEvent) => host.inPlane.handleEvent(event, clock.now())
  return {
    access,
    host,
    installed,
    leases,
    log,
    told,
    users,
    onEvent,
    network,
    commands,
    commanded,
    associate,
    handle,
    login,
    connect,
  }
}
