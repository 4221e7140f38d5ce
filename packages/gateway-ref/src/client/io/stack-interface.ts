import type { TunnelParameters } from '@twinbore/core'
import type { IpAddress } from '@twinbore/core/address'
import { systemRandom } from '@twinbore/core/io'
import type { PacketDevice } from '@twinbore/tun'
import { StackHost, sequenceHash } from '@twinbore/tun/io'
import { NetStack, type NetStackOptions } from '@twinbore/tun/netstack'
import { GatewayError } from '../../errors.ts'
import type { ClientInterface, ClientInterfaceFactory } from '../client-options.ts'
import type { TunnelTlsOptions } from '../network/io/tunnel-fetch.ts'
import { type NetworkParameters, TunnelNetwork } from '../network/io/tunnel-network.ts'
import { sameAddresses } from '../tunnel-request.ts'

export interface StackInterfaceOptions {
  /** What `fetch` and `agent.https` trust and show, where a request says nothing else. @defaultValue as `tls.connect` */
  readonly tls?: TunnelTlsOptions
  /** How connections behave, and limits of the stack. */
  readonly stack?: Pick<NetStackOptions, 'tcp' | 'limits'>
}

/**
 * Keeps a tunnel inside the process, without any part of the operating system: its end is a userspace TCP/IP stack, and
 * `connect`, `lookup`, `fetch`, `agent` and `createUdpSocket` of the tunnel work. Needs no rights.
 *
 * @example
 * const tunnel = await connect({ url, credentials, interface: stackInterface() })
 * const page = await tunnel.fetch('https://wiki.corp.example/')
 */
export function stackInterface(options: StackInterfaceOptions = {}): ClientInterfaceFactory {
  return parameters => new StackInterface(options, parameters)
}

class StackInterface implements ClientInterface {
  readonly network: TunnelNetwork
  readonly device: PacketDevice
  private readonly options: StackInterfaceOptions
  private readonly host: StackHost
  private parameters: TunnelParameters

  constructor(options: StackInterfaceOptions, parameters: TunnelParameters) {
    this.options = options
    this.parameters = parameters
    this.host = new StackHost(this.makeStack(), { mtu: parameters.mtu })
    this.device = this.host.device
    this.network = new TunnelNetwork(this.host, networkParameters(parameters), options.tls)
  }

  update(parameters: TunnelParameters, mtu: number): void {
    const hasMoved = !sameAddresses(this.parameters, parameters)
    this.parameters = parameters
    this.network.update(networkParameters(parameters))
    if (hasMoved) {
      const reason = new GatewayError('ERR_GATEWAY_HOST', 'the gateway leases other addresses to the tunnel now')
      this.host.restart(this.makeStack(), reason)
    }
    for (const address of addressesOf(parameters)) {
      const least = address.family === 4 ? 576 : 1280
      this.host.stack.setMtu(address.toString(), Math.max(least, mtu), this.host.now())
    }
    this.host.touch()
  }

  close(reason: Error = new GatewayError('ERR_GATEWAY_ABORTED', 'the tunnel is closed')): void {
    this.network.close(reason)
  }

  private makeStack(): NetStack {
    const { parameters, options } = this
    const addresses = addressesOf(parameters).map(address => address.toString())
    return new NetStack({
      random: systemRandom,
      keyedHash: sequenceHash(),
      mtu: parameters.mtu,
      superPackets: true,
      ...options.stack,
      addresses,
    })
  }
}

function addressesOf({ ipv4, ipv6 }: TunnelParameters): IpAddress[] {
  return [ipv4, ipv6].flatMap(lease => (lease ? [lease.address] : []))
}

function networkParameters(parameters: TunnelParameters): NetworkParameters {
  const { servers: nameServers, searchDomains } = parameters.dns
  return { addresses: addressesOf(parameters), nameServers, searchDomains }
}
