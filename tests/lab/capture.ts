// A capture of what a host's link carries, by tcpdump, and the search for addresses that must never be on it.
import { readFileSync } from 'node:fs'
import type { HostName, LabNetwork } from './lab-network.ts'
import type { LabProcess } from './lab-process.ts'

export class Capture {
  readonly #program: LabProcess
  readonly #file: string

  private constructor(program: LabProcess, file: string) {
    this.#program = program
    this.#file = file
  }

  /**
   * Starts to write what passes `device` of `host` to `file`, whole packets, and waits until it does. With `busy` it takes a
   * full load, and may miss what passes in the last second before its end.
   */
  static async start(
    network: LabNetwork,
    host: HostName,
    device: string,
    file: string,
    { busy = false }: { readonly busy?: boolean } = {},
  ): Promise<Capture> {
    // A large buffer (KiB), so that a burst is not lost while the machine is busy with other things. Immediate mode uses it
    // badly: every packet takes the room of the longest.
    const mode = busy ? [] : ['-U', '--immediate-mode']
    const args = ['-i', device, '-s', '0', '-B', busy ? '262144' : '65536', ...mode, '-Z', 'root', '-w', file]
    const program = network.start(host, 'tcpdump', args)
    await program.waitFor(/listening on/)
    return new Capture(program, file)
  }

  /** Ends the capture and returns its packets, with their Ethernet headers. */
  async stop(): Promise<Uint8Array[]> {
    await this.#program.stop('SIGINT')
    const dropped = /(\d+) packets? dropped by kernel/.exec(this.#program.output)
    if (dropped && dropped[1] !== '0') throw new Error(`The capture is not complete: ${dropped[0]}`)
    return readPcap(readFileSync(this.#file))
  }
}

/** The packets of a capture file (the pcap format of tcpdump, little-endian). */
export function readPcap(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (view.getUint32(0, true) !== 0xa1b2c3d4) throw new Error('Not a little-endian pcap file with microseconds.')
  const packets: Uint8Array[] = []
  for (let at = 24; at + 16 <= file.length; ) {
    const length = view.getUint32(at + 8, true)
    if (length !== view.getUint32(at + 12, true)) throw new Error('A packet was cut short.')
    packets.push(file.subarray(at + 16, at + 16 + length))
    at += 16 + length
  }
  return packets
}

/** Which packets hold `bytes` anywhere: in a header, in the packet that an ICMP error quotes, in the payload. */
export function packetsHolding(packets: readonly Uint8Array[], bytes: Uint8Array): Uint8Array[] {
  const wanted = Buffer.from(bytes)
  return packets.filter(packet => Buffer.from(packet.buffer, packet.byteOffset, packet.length).includes(wanted))
}

/** Where any of the addresses is in any byte of a packet: the address and the packet in hex, three for each address at most. */
export function tracesOf(packets: readonly Uint8Array[], addresses: Iterable<string>): string[] {
  return [...addresses].flatMap(address =>
    packetsHolding(packets, addressBytes(address))
      .slice(0, 3)
      .map(packet => `${address}: ${Buffer.from(packet).toString('hex')}`),
  )
}

/** The bytes of an address in text form, as they stand in a packet. */
export function addressBytes(address: string): Uint8Array {
  if (!address.includes(':')) return Uint8Array.from(address.split('.').map(Number))
  const [head = '', tail] = address.split('::')
  const groups = (text: string | undefined): number[] =>
    text ? text.split(':').map(group => Number(`0x${group}`)) : []
  const [before, after] = [groups(head), groups(tail)]
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Uint8Array.from(all.flatMap(group => [group >> 8, group & 0xff]))
}
