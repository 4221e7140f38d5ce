import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TunnelParameters } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import type { ClientInterface } from '../../src/client/client-options.ts'
import { type StackInterfaceOptions, stackInterface } from '../../src/client/io/stack-interface.ts'
import type { TunnelNetwork } from '../../src/client/network/io/tunnel-network.ts'
import { ensureDevelopmentIdentity } from '../../src/identity/io/development-identity.ts'
import { parametersOf } from './parameters.ts'
import { joinDevices, StackServers } from './stack-servers.ts'

export const nameServer = '10.9.9.9'
export const otherNameServer = '10.9.9.10'

export interface NetworkWorldOptions extends StackInterfaceOptions {
  readonly parameters?: Partial<TunnelParameters>
}

/** The interface of a tunnel joined to servers without a tunnel in between. */
export class NetworkWorld {
  readonly servers: StackServers = new StackServers()
  readonly granted: TunnelParameters
  readonly interface: ClientInterface
  readonly network: TunnelNetwork
  /** Loses packets by returning false. */
  passes: (packet: Uint8Array) => boolean = () => true

  constructor(options: NetworkWorldOptions = {}) {
    this.granted = parametersOf({
      ipv4: { address: IpAddress.of('10.77.0.2'), netmask: IpAddress.of('255.255.255.0') },
      ipv6: { address: IpAddress.of('fd77::2'), prefixLength: 64 },
      dns: {
        servers: [IpAddress.of(nameServer), IpAddress.of(otherNameServer)],
        searchDomains: ['corp.example'],
        splitDomains: [],
        tunnelAll: false,
      },
      ...options.parameters,
    })
    this.interface = stackInterface(options)(this.granted, '127.0.0.1') as ClientInterface
    this.network = this.interface.network!
    joinDevices(this.interface.device, this.servers.device, packet => this.passes(packet))
  }

  close(): void {
    this.interface.close()
    this.servers.close()
  }
}

/** A certificate for `intranet.corp.example` and the authority that signed it, as PEM. */
export async function testCertificate(): Promise<{ readonly cert: string; readonly key: string; readonly ca: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'twinbore-network-'))
  try {
    const names = ['intranet.corp.example']
    const { certificate, key, authority } = await ensureDevelopmentIdentity({ directory, names })
    const [cert, keyText, caText] = await Promise.all([certificate, key, authority].map(file => readFile(file, 'utf8')))
    return { cert: cert!, key: keyText!, ca: caText! }
  } finally {
    await rm(directory, { recursive: true })
  }
}
