// A flood of 64-byte packets through a tunnel, and who saw how many of them.
import type { LabNetwork } from '../../tests/lab/lab-network.ts'

export interface FloodResult {
  /** Packets that the gateway took through itself. */
  readonly handled: number
  /** Packets a second that the receiving iperf3 got. */
  readonly deliveredPerSecond: number
}

/**
 * UDP as fast as one iperf3 sends it: 36 bytes of payload, 64 of IPv4 packet. What was handled is in the kernel's counters: up,
 * the UDP datagrams that reached the corporate host, whether its socket had room or not (trains that the gateway wrote in one
 * piece are taken apart there); down, the packets that the gateway's process took from its TUN device.
 */
export async function flood(
  network: LabNetwork,
  direction: 'up' | 'down',
  { seconds, address }: { readonly seconds: number; readonly address: string },
): Promise<FloodResult> {
  const before = await counters(network, address)
  const args = ['--client', address, '--json', '--udp', '--bitrate', '0', '--length', '36', '--time', `${seconds}`]
  const stdout = await network.mustRun('client', 'iperf3', [...args, ...(direction === 'down' ? ['--reverse'] : [])], {
    timeoutMs: seconds * 1000 + 60_000,
  })
  const after = await counters(network, address)
  const { end } = JSON.parse(stdout) as { end: { sum: { packets: number; lost_packets: number; seconds: number } } }
  const counter = direction === 'up' ? 'reachedCorporate' : 'takenFromTun'
  return {
    handled: after[counter] - before[counter],
    deliveredPerSecond: (end.sum.packets - end.sum.lost_packets) / end.sum.seconds,
  }
}

interface Counters {
  readonly reachedCorporate: number
  readonly takenFromTun: number
}

async function counters(network: LabNetwork, address: string): Promise<Counters> {
  const links = await network.mustRun('gateway', 'ip', ['-json', '-statistics', 'link', 'show', 'type', 'tun'])
  const tuns = JSON.parse(links) as { stats64: { tx: { packets: number } } }[]
  return {
    reachedCorporate: await udpArrivals(network, address),
    takenFromTun: tuns.reduce((sum, { stats64 }) => sum + stats64.tx.packets, 0),
  }
}

async function udpArrivals(network: LabNetwork, address: string): Promise<number> {
  if (address.includes(':')) {
    const text = await network.mustRun('corporate', 'cat', ['/proc/net/snmp6'])
    const value = (name: string): number => Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0)
    return value('Udp6InDatagrams') + value('Udp6InErrors')
  }
  const text = await network.mustRun('corporate', 'cat', ['/proc/net/snmp'])
  const [names = [], values = []] = [...text.matchAll(/^Udp: (.*)$/gm)].map(match => match[1]!.split(' '))
  const value = (name: string): number => Number(values[names.indexOf(name)] ?? 0)
  return value('InDatagrams') + value('InErrors')
}
