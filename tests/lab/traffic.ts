// What tests send through a tunnel: pings, files with their hashes, and iperf3's streams.
import { fileURLToPath } from 'node:url'
import {
  corporateAddress,
  corporateAddress6,
  gatewayInsideAddress,
  gatewayInsideAddress6,
  type HostName,
  type LabNetwork,
} from './lab-network.ts'
import type { LabProcess } from './lab-process.ts'

const transferProgram = fileURLToPath(new URL('./transfer.mjs', import.meta.url))
const transferPort = 8080

export interface TransferResult {
  readonly bytes: number
  readonly seconds: number
  /** SHA-256 at the client. */
  readonly here: string
  /** SHA-256 at the corporate host. */
  readonly there: string
  /** The client's address as the corporate host saw it, never in the form of IPv6 for an IPv4 address. */
  readonly peer: string
}

/** Starts the corporate host's file server for IPv4 and IPv6. */
export async function startFileServer(network: LabNetwork): Promise<void> {
  for (const address of [corporateAddress, corporateAddress6]) {
    const server = network.start('corporate', process.execPath, [transferProgram, 'serve', address, `${transferPort}`])
    await server.waitFor(/ready/)
  }
}

export function download(
  network: LabNetwork,
  bytes: number,
  address: string = corporateAddress,
  from?: string,
): Promise<TransferResult> {
  return transfer(network, bytes, ['get', `http://${bracketed(address)}:${transferPort}/${bytes}`], from)
}

export function upload(
  network: LabNetwork,
  bytes: number,
  address: string = corporateAddress,
  from?: string,
): Promise<TransferResult> {
  return transfer(network, bytes, ['put', `http://${bracketed(address)}:${transferPort}/`, `${bytes}`], from)
}

/** A file each way over each family: how, to whom, and whose address the corporate host sees when the gateway translates. */
export const crossings = [
  ['up', 'IPv4', upload, corporateAddress, gatewayInsideAddress],
  ['down', 'IPv4', download, corporateAddress, gatewayInsideAddress],
  ['up', 'IPv6', upload, corporateAddress6, gatewayInsideAddress6],
  ['down', 'IPv6', download, corporateAddress6, gatewayInsideAddress6],
] as const

export interface PingResult {
  readonly sent: number
  readonly received: number
  /** Milliseconds since 1970 and sequence number of each answer. */
  readonly answers: readonly { readonly at: number; readonly sequence: number }[]
}

/** Sends `count` echo requests and waits for the answers. */
export async function ping(
  network: LabNetwork,
  address: string,
  {
    count = 3,
    host = 'client',
    sizeBytes = 56,
    from,
  }: { count?: number; host?: HostName; sizeBytes?: number; from?: string } = {},
): Promise<PingResult> {
  const source = from === undefined ? [] : ['-I', from]
  const args = ['-n', '-D', '-c', `${count}`, '-i', '0.2', '-W', '2', '-s', `${sizeBytes}`, ...source, address]
  const { output } = await network.run(host, 'ping', args, { timeoutMs: 10_000 + count * 2_200 })
  return parsePing(output)
}

/** Sends an echo request every `intervalSeconds` until it is stopped: `readPing` tells what came back. */
export function startPing(network: LabNetwork, address: string, intervalSeconds = 0.1): LabProcess {
  return network.start('client', 'ping', ['-n', '-D', '-O', '-i', `${intervalSeconds}`, address])
}

/** Sends echo requests until one is answered: the way to `address` is open from then on. */
export async function reach(network: LabNetwork, address: string, timeoutMs = 30_000): Promise<void> {
  const args = ['-n', '-c', '1', '-i', '0.2', '-w', `${Math.ceil(timeoutMs / 1000)}`, address]
  await network.mustRun('client', 'ping', args, { timeoutMs: timeoutMs + 10_000 })
}

/** Waits for an answer to a request that is sent from now on. */
export async function nextAnswer(pinging: LabProcess, timeoutMs = 60_000): Promise<void> {
  await pinging.waitFor(/bytes from [^\n]*\n(?:.*\n)*?.*bytes from [^\n]*\n/, { since: pinging.mark, timeoutMs })
}

/** The longest time, in milliseconds, between two answers. */
export function longestGap(pinging: LabProcess): number {
  const times = parsePing(pinging.output).answers.map(answer => answer.at)
  return Math.max(0, ...times.slice(1).map((at, index) => at - times[index]!))
}

/** Ends a running ping and tells what it saw. */
export async function readPing(pinging: LabProcess): Promise<PingResult> {
  const { output } = await pinging.stop('SIGINT')
  return parsePing(output)
}

export interface StreamResult {
  readonly bitsPerSecond: number
  readonly bytes: number
}

export async function startIperfServer(network: LabNetwork): Promise<void> {
  const server = network.start('corporate', 'iperf3', ['--server', '--forceflush'])
  await server.waitFor(/listening/i)
}

/** One TCP stream of iperf3: `up` from the client to the corporate host, or `down`. */
export async function stream(
  network: LabNetwork,
  direction: 'up' | 'down',
  {
    seconds = 2,
    address = corporateAddress,
    streams = 1,
  }: { seconds?: number; address?: string; streams?: number } = {},
): Promise<StreamResult> {
  // The kernel's own default, whatever this machine prefers: it decides how long the trains of a sender are.
  const args = [
    '--client',
    address,
    '--json',
    '--time',
    `${seconds}`,
    '--parallel',
    `${streams}`,
    '--congestion',
    'cubic',
  ]
  const stdout = await network.mustRun('client', 'iperf3', [...args, ...(direction === 'down' ? ['--reverse'] : [])], {
    timeoutMs: seconds * 1000 + 30_000,
  })
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number; bytes: number } } }
  const { bits_per_second: bitsPerSecond, bytes } = report.end.sum_received
  return { bitsPerSecond, bytes }
}

async function transfer(
  network: LabNetwork,
  bytes: number,
  args: readonly string[],
  from?: string,
): Promise<TransferResult> {
  const stdout = await network.mustRun('client', process.execPath, [transferProgram, ...args], {
    timeoutMs: 120_000 + bytes / 1000,
    ...(from !== undefined && { env: { LOCAL_ADDRESS: from } }),
  })
  const result = JSON.parse(stdout) as TransferResult
  return { ...result, peer: result.peer.replace('::ffff:', '') }
}

function parsePing(output: string): PingResult {
  const answers = [...output.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from .*?icmp_seq=(\d+)/gm)].map(match => ({
    at: Number(match[1]) * 1000,
    sequence: Number(match[2]),
  }))
  const summary = /(\d+) packets transmitted, (\d+)/.exec(output)
  if (output !== '' && !/bytes of data|data bytes/.test(output)) throw new Error(output)
  return { sent: Number(summary?.[1] ?? 0), received: Number(summary?.[2] ?? 0), answers }
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}
