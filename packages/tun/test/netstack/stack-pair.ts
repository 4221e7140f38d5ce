// Two stacks back to back in memory: a client and a gateway, packets in batches, time that moves when told to.
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import {
  NetStack,
  type NetStackEndpoint,
  type NetStackLimits,
  type NetStackOptions,
  type NetStackOutput,
} from '../../src/netstack/index.ts'

export type Direction = 'to-gateway' | 'to-client'

export interface StackPairOptions {
  readonly client?: Partial<NetStackOptions>
  readonly gateway?: Partial<NetStackOptions>
  readonly limits?: Partial<NetStackLimits>
}

export const client4 = '10.77.0.2'
export const client6 = 'fd77::2'
export const gateway4 = '10.77.0.1'
export const gateway6 = 'fd77::1'

/** An address of each family, for tests of both. */
export const families = [
  { name: 'IPv4', inside: client4, own: gateway4, far: '198.51.100.7', farther: '203.0.113.9' },
  { name: 'IPv6', inside: client6, own: gateway6, far: '2001:db8:ff::7', farther: '2001:db8:fe::9' },
]

export class StackPair {
  now = 1000
  readonly client: NetStack
  readonly gateway: NetStack
  /** Every output so far, in order. */
  readonly clientOutputs: NetStackOutput[] = []
  readonly gatewayOutputs: NetStackOutput[] = []
  /** Every packet so far. */
  readonly packets: { direction: Direction; bytes: Uint8Array }[] = []
  /** Lose a packet by returning false. */
  passes: (direction: Direction, packet: Uint8Array) => boolean = () => true
  onClient: (output: NetStackOutput) => void = () => {}
  onGateway: (output: NetStackOutput) => void = () => {}
  /** Whether to keep packets in `packets`. */
  isRecording = true
  private readonly batch = new PacketBatch({ capacity: 64, slotBytes: 9100 })
  private readonly carried = new PacketBatch({ capacity: 64, slotBytes: 9100 })

  constructor(options: StackPairOptions = {}) {
    this.client = new NetStack({ random: seededRandom(1), addresses: [client4, client6], ...options.client })
    this.gateway = new NetStack({
      random: seededRandom(2),
      acceptAnyDestination: true,
      addresses: [gateway4, gateway6],
      ...(options.limits ? { limits: options.limits } : {}),
      ...options.gateway,
    })
  }

  /** Moves packets and outputs until nothing moves any more. */
  run(): this {
    for (let rounds = 0; rounds < 100_000; rounds++) {
      this.poll()
      const moved = this.carry('to-gateway') + this.carry('to-client')
      this.poll()
      if (moved === 0 && !this.client.wantsToSend && !this.gateway.wantsToSend) return this
    }
    throw new Error('the stacks never come to rest')
  }

  /** Lets time pass, deadline by deadline. */
  advance(ms: number): this {
    const until = this.now + ms
    this.run()
    for (;;) {
      const next = Math.min(this.client.deadline ?? until, this.gateway.deadline ?? until, until)
      this.now = Math.max(this.now, next)
      this.client.handleDeadline(this.now)
      this.gateway.handleDeadline(this.now)
      this.run()
      if (this.now >= until) return this
    }
  }

  /** Hands packets to the gateway, or to the client. Returns their verdicts and leaves the drop reasons in `drops`. */
  inject(direction: Direction, ...packets: Uint8Array[]): number[] {
    const batch = new PacketBatch({ capacity: packets.length, slotBytes: 65_600 })
    for (const packet of packets) if (batch.push(packet) === -1) throw new Error('packet too long')
    const stack = direction === 'to-gateway' ? this.gateway : this.client
    stack.handlePackets(batch, this.now)
    this.poll()
    return [...batch.verdicts]
  }

  /** The packets of one direction since the last call. */
  taken(direction: Direction): Uint8Array[] {
    const found = this.packets.filter(packet => packet.direction === direction).map(packet => packet.bytes)
    this.packets.splice(0, this.packets.length, ...this.packets.filter(packet => packet.direction !== direction))
    return found
  }

  private poll(): void {
    for (;;) {
      const ofClient = this.client.poll()
      if (ofClient) {
        this.clientOutputs.push(ofClient)
        this.onClient(ofClient)
      }
      const ofGateway = this.gateway.poll()
      if (ofGateway) {
        this.gatewayOutputs.push(ofGateway)
        this.onGateway(ofGateway)
      }
      if (!ofClient && !ofGateway) return
    }
  }

  private carry(direction: Direction): number {
    const [from, to] = direction === 'to-gateway' ? [this.client, this.gateway] : [this.gateway, this.client]
    this.batch.reset()
    this.carried.reset()
    const count = from.drain(this.batch, this.now)
    for (let slot = 0; slot < count; slot++) {
      const packet = this.batch.packet(slot)
      if (this.isRecording) this.packets.push({ direction, bytes: packet.slice() })
      if (this.passes(direction, packet)) this.carried.push(packet)
    }
    to.handlePackets(this.carried, this.now)
    for (let slot = 0; slot < this.carried.count; slot++) {
      if (this.carried.verdicts[slot] === Verdict.forward) throw new Error('a packet was not consumed')
    }
    return count
  }
}

/** A pair with `count` connections: flow ids 0, 1, ... on both sides. */
export function establishedPair(options: StackPairOptions = {}, count = 1): StackPair {
  const pair = acceptingPair(options)
  for (let i = 0; i < count; i++) pair.client.openTcp({ remote: endpoint('198.51.100.7', 443 + i) }, pair.now)
  pair.run()
  return pair
}

/** A pair whose gateway accepts every flow. */
export function acceptingPair(options: StackPairOptions = {}): StackPair {
  const pair = new StackPair(options)
  pair.onGateway = output => {
    if (output.type === 'flow-requested') pair.gateway.accept(output.flow, pair.now)
  }
  return pair
}

/** The outputs of one type. */
export function outputsOf<T extends NetStackOutput['type']>(
  outputs: readonly NetStackOutput[],
  type: T,
): Extract<NetStackOutput, { type: T }>[] {
  return outputs.filter((output): output is Extract<NetStackOutput, { type: T }> => output.type === type)
}

/** The last output of one type; fails when there is none. */
export function lastOf<T extends NetStackOutput['type']>(
  outputs: readonly NetStackOutput[],
  type: T,
): Extract<NetStackOutput, { type: T }> {
  const found = outputsOf(outputs, type).at(-1)
  if (!found) throw new Error(`no ${type} among ${outputs.map(output => output.type).join(', ')}`)
  return found
}

export function endpoint(address: string, port: number): NetStackEndpoint {
  return { address, port }
}

/** Type and code of an ICMP error, `3/1`; `undefined` for another packet. */
export function icmpKind(packet: Uint8Array): string | undefined {
  const v4 = packet[0]! >>> 4 === 4
  const at = v4 ? 20 : 40
  if (packet[v4 ? 9 : 6] !== (v4 ? 1 : 58)) return undefined
  return `${packet[at]}/${packet[at + 1]}`
}
