// What an address translator does that forgets a client: the source port of its datagrams changes at once, and what comes for
// the old one is lost. Stateless, so that no flow that is known keeps its port.
import type { LabNetwork } from './lab-network.ts'

export class PortRewriter {
  private readonly network: LabNetwork
  private readonly server: number
  private readonly inside: number

  private constructor(network: LabNetwork, server: number, inside: number) {
    this.network = network
    this.server = server
    this.inside = inside
  }

  /** For the one UDP socket of the client's host, which sends to the gateway's port `server`. */
  static async open(network: LabNetwork, server: number): Promise<PortRewriter> {
    const sockets = await network.mustRun('client', 'ss', ['-Huna'])
    const [only, ...more] = [...sockets.matchAll(/^\S+ +\d+ +\d+ +\S+:(\d+) /gm)]
    if (!only || more.length > 0) throw new Error(`not one UDP socket:\n${sockets}`)
    const inside = only[1]
    return new PortRewriter(network, server, Number(inside))
  }

  /** From now on the gateway hears the client from `port`. */
  async use(port: number): Promise<void> {
    const { network, server, inside } = this
    await network.mustRun('client', 'nft', ['-f', '-'], {
      input: `table ip rewriter
      delete table ip rewriter
      table ip rewriter {
        chain leaving {
          type filter hook output priority -300
          udp dport ${server} udp sport ${inside} udp sport set ${port}
        }
        chain arriving {
          type filter hook prerouting priority -300
          udp sport ${server} udp dport ${port} udp dport set ${inside} accept
          udp sport ${server} drop
        }
      }`,
    })
  }
}
