import { IpAddress, type RouteTable } from '@twinbore/core/address'
import { systemClock, systemRandom } from '@twinbore/core/io'
import type { PacketDevice } from '@twinbore/tun'
import { SocketRelay, type SocketRelayStats } from '@twinbore/tun/io'
import type { NetStackEndpoint } from '@twinbore/tun/netstack'
import type { Egress, EgressSettings } from '../../egress.ts'
import type { DnsForwarderStats } from '../dns-forwarder.ts'
import { mayReach } from '../exposure.ts'
import { DnsService } from './dns-service.ts'

const DNS_PORT = 53
/** How long the host's own addresses are taken to be what they were. */
const REFUSALS_MS = 5000

/** Counts of the way out `sockets` since its start. */
export interface SocketsEgressStats extends SocketRelayStats {
  /** Absent unless the gateway forwards DNS. */
  readonly dns: DnsForwarderStats | undefined
}

/**
 * The way out that needs no rights: clients' flows end in the userspace stack and go on over ordinary sockets of this
 * process. Nothing of the host is changed.
 */
export class SocketsEgress implements Egress {
  readonly mode = 'sockets'
  readonly translation = undefined
  private readonly settings: EgressSettings
  private relay: SocketRelay | undefined
  private dns: DnsService | undefined
  private refusals: RouteTable | undefined
  private refusalsUntil = 0

  constructor(settings: EgressSettings) {
    this.settings = settings
  }

  get device(): PacketDevice {
    return this.started().device
  }

  async start(): Promise<void> {
    if (this.relay) throw new TypeError('the egress is started already')
    const { gatewayAddresses, mtu, log, forward = [], redirect } = this.settings
    const inside = [gatewayAddresses.ipv4, gatewayAddresses.ipv6].flatMap(address => (address ? [`${address}`] : []))
    const dns =
      forward.length > 0
        ? new DnsService(forward.map(address => ({ address: `${address}`, port: DNS_PORT })))
        : undefined
    this.dns = dns
    const isResolver = ({ address, port }: NetStackEndpoint) => dns && port === DNS_PORT && inside.includes(address)
    this.relay = new SocketRelay({
      stack: { random: systemRandom, addresses: inside, mtu, superPackets: true },
      mayReach: (address, isOwn) => mayReach(this.currentRefusals(), IpAddress.of(address), isOwn),
      redirect: (destination, protocol) =>
        isResolver(destination) && protocol === 'tcp' ? dns!.first : redirect?.(destination, protocol),
      takeDatagram: (client, remote, bytes, reply) => {
        if (!isResolver(remote)) return false
        dns!.ask(client.address, bytes, reply)
        return true
      },
      removeSource: address => dns?.removeClient(address),
      onDescriptorsExhausted: admitted =>
        log.warn('new flows are refused: too many files are open', { limit: admitted }),
    })
    if (!this.relay.canPing) {
      log.info('pings of clients are refused: the host offers no unprivileged ones', {
        setting: 'net.ipv4.ping_group_range',
      })
    }
  }

  async stop(): Promise<void> {
    this.relay?.close()
    this.dns?.close()
    this.dns = undefined
  }

  removeClient(address: IpAddress): void {
    this.relay?.removeSource(`${address}`)
  }

  stats(): SocketsEgressStats {
    return { ...this.started().stats(), dns: this.dns?.stats() }
  }

  private started(): SocketRelay {
    if (!this.relay) throw new TypeError('the egress is not started')
    return this.relay
  }

  /** Interfaces come and go while the gateway runs. */
  private currentRefusals(): RouteTable {
    const now = systemClock.now()
    if (!this.refusals || now >= this.refusalsUntil) {
      this.refusals = this.settings.refused()
      this.refusalsUntil = now + REFUSALS_MS
    }
    return this.refusals
  }
}
