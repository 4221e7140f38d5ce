// Two hosts of stacks joined in memory, on the real clock: a client, and a gateway whose tests play every server.
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import type { PacketDevice } from '../../../src/index.ts'
import { FlowDuplex, StackHost, UdpSocket } from '../../../src/io/index.ts'
import { NetStack, type NetStackOptions, type NetStackOutput } from '../../../src/netstack/index.ts'

export const client4 = '10.77.0.2'
export const client6 = 'fd77::2'
export const server4 = '198.51.100.7'
export const server6 = '2001:db8::7'

type Requested = Extract<NetStackOutput, { type: 'flow-requested' }>

export class StackWorld {
  readonly client: StackHost
  readonly gateway: StackHost
  /** What the gateway does with a flow that a client asks for. */
  onRequest: (request: Requested) => void = () => {}
  /** Datagrams that came to the gateway. */
  onDatagram: (datagram: Extract<NetStackOutput, { type: 'datagram' }>) => void = () => {}
  /** Loses packets by returning false. */
  passes: (packet: Uint8Array) => boolean = () => true

  constructor(options: Partial<NetStackOptions> = {}) {
    const clientStack = new NetStack({ random: seededRandom(1), addresses: [client4, client6], ...options })
    this.client = new StackHost(clientStack)
    const gatewayStack = new NetStack({ random: seededRandom(2), acceptAnyDestination: true, ...options })
    this.gateway = new StackHost(gatewayStack, {
      onOutput: output => {
        if (output.type === 'flow-requested') this.onRequest(output)
        if (output.type === 'datagram') this.onDatagram(output)
      },
    })
    this.carry(this.client.device, this.gateway.device)
    this.carry(this.gateway.device, this.client.device)
  }

  /** From now on accepts every connection as a stream. */
  serve(handle: (socket: FlowDuplex, request: Requested) => void, allowHalfOpen = true): void {
    this.onRequest = request => {
      this.gateway.stack.accept(request.flow, this.gateway.now())
      if (request.protocol === 'udp') return
      const socket = new FlowDuplex(this.gateway, { flow: request.flow, allowHalfOpen })
      socket.on('error', () => {})
      handle(socket, request)
    }
  }

  udp(address: string = client4): UdpSocket {
    return new UdpSocket(this.client, { address })
  }

  close(): void {
    this.client.close(new Error('the test is over'))
    this.gateway.close(new Error('the test is over'))
  }

  private carry(from: PacketDevice, to: PacketDevice): void {
    const batch = new PacketBatch({ capacity: 64, slotBytes: 2048 })
    from.onReadable = () => {
      batch.reset()
      from.read(batch)
      for (let slot = 0; slot < batch.count; slot++) {
        if (!this.passes(batch.packet(slot))) batch.verdicts[slot] = Verdict.drop
      }
      to.write(batch)
    }
  }
}
