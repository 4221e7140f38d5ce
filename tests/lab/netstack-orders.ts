// The two ends of transfers between the kernel's TCP and ours, and orders to them: netstack-traffic.ts carries them out.
import { type LabProcess, runProgram } from './lab-process.ts'
import type { Order } from './netstack-behaviours.ts'
import { NetstackNamespace } from './netstack-namespace.ts'

/** The program of an end: `stack`, `kernel`, or the `link` between two kernels. */
export const endProgram: URL = new URL('./netstack-traffic.ts', import.meta.url)

/** The kernel's congestion control, whatever this machine prefers. */
export const cubic: readonly string[] = ['congctl', 'cubic']

/** Addresses behind the stack as a gateway, and the kernel's own. */
export const families = [
  { family: 'IPv4', far: '198.51.100.7', kernelAddress: '10.88.0.1' },
  { family: 'IPv6', far: '2001:db8:ff::7', kernelAddress: 'fd88::1' },
] as const

/** A namespace in which a kernel is not kept from sending for minutes after many losses in a row, if it can be told so. */
export async function patientNamespace(): Promise<NetstackNamespace> {
  const namespace = await NetstackNamespace.create()
  await runProgram('sysctl', ['-qw', 'net.ipv4.tcp_rto_max_ms=2000'], { namespace: namespace.name })
  return namespace
}

/** Starts our stack, as gateway or as client on a link in `conditions`, and the kernel's end. */
export async function startEnds(
  namespace: NetstackNamespace,
  mode: 'gateway' | 'client',
  seed: number,
  conditions: object = {},
): Promise<{ readonly stack: LabProcess; readonly kernel: LabProcess }> {
  const stack = await namespace.start(endProgram, 'stack', mode, String(seed), JSON.stringify(conditions))
  await namespace.route('stack0', '10.88.0.0/24', 'fd88::/64', ...cubic)
  await namespace.ip('route', 'add', 'default', 'dev', 'stack0', ...cubic)
  await namespace.ip('-6', 'route', 'add', 'default', 'dev', 'stack0', ...cubic)
  return { stack, kernel: await namespace.start(endProgram, 'kernel') }
}

export interface Answer {
  readonly bytes: number
  readonly seconds: number
}

let orders = 0

/** Gives an order and waits for what came of it. */
export async function order(to: LabProcess, what: Partial<Order>): Promise<Answer> {
  const id = ++orders
  to.write(`${JSON.stringify({ id, ...what })}\n`)
  const [line] = await to.waitFor(new RegExp(`\\{"id":${id},.*\\}(?=\\n)`), { timeoutMs: 500_000, stdoutOnly: true })
  const { answer, failed } = JSON.parse(line) as { answer?: Answer; failed?: string }
  if (!answer) throw new Error(failed)
  return answer
}

export function speed({ bytes, seconds }: Answer): string {
  return `${((8 * bytes) / seconds / 1e6).toFixed(1)} Mbit/s`
}
