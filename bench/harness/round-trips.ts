// Round-trip times through a tunnel, from the ping of the client's host.
import type { LabNetwork } from '../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../tests/lab/lab-process.ts'
import type { Recorder } from './result.ts'
import { quantile } from './statistics.ts'

/** Milliseconds of every answer, and the share of requests that none came to. */
export interface RoundTrips {
  readonly milliseconds: readonly number[]
  readonly lost: number
}

/** Sends requests of 56 bytes, 100 a second, for so long. */
export async function measureRoundTrips(network: LabNetwork, address: string, seconds: number): Promise<RoundTrips> {
  const count = Math.max(20, Math.round(seconds * 100))
  const args = ['-n', '-i', '0.01', '-W', '1', '-c', `${count}`, address]
  return readRoundTrips((await network.run('client', 'ping', args, { timeoutMs: seconds * 1000 + 30_000 })).output)
}

/** Sends requests, 50 a second, until `endRoundTrips`. */
export function startRoundTrips(network: LabNetwork, address: string): LabProcess {
  return network.start('client', 'ping', ['-n', '-i', '0.02', address])
}

export async function endRoundTrips(pinging: LabProcess): Promise<RoundTrips> {
  return readRoundTrips((await pinging.stop('SIGINT')).output)
}

/** Adds median and 95th percentile of the answers to a result, and the share of requests without one. */
export function addRoundTrips(
  recorder: Recorder,
  candidate: string,
  when: string,
  { milliseconds, lost }: RoundTrips,
): void {
  for (const [name, q] of [
    ['p50', 0.5],
    ['p95', 0.95],
  ] as const) {
    recorder.add(candidate, `${when}: RTT ${name}`, 'ms', 'less', quantile(milliseconds, q))
  }
  recorder.add(candidate, `${when}: pings lost`, '%', 'less', lost * 100)
}

function readRoundTrips(output: string): RoundTrips {
  const milliseconds = [...output.matchAll(/ time=([\d.]+) ms/g)].map(match => Number(match[1]))
  const [, sent = '0'] = /(\d+) packets transmitted/.exec(output) ?? []
  if (milliseconds.length === 0) throw new Error(`No ping came back:\n${output}`)
  return { milliseconds, lost: 1 - milliseconds.length / Number(sent) }
}
