import type { RecordProtectionSupport } from '@twinbore/dtls/io'
import type { DatagramSupport } from '@twinbore/tun'
import type { TunSupport } from '@twinbore/tun/io'
import type { DataPlaneConfig, EgressConfig } from '../config/gateway-config.ts'
import type { StreamCipherSupport } from '../data-plane/stream/io/stream-ciphers.ts'

/** What was found out about a host. A text in place of a thing says why it is not there. */
export interface HostFacts {
  readonly ffi: string | undefined
  readonly tun: TunSupport
  readonly datagrams: DatagramSupport
  readonly records: RecordProtectionSupport
  readonly streams: StreamCipherSupport
  /** Why checksums are added up by JavaScript. */
  readonly checksums: string | undefined
  readonly nft: string | undefined
  readonly ports: readonly { readonly name: string; readonly obstacle: string | undefined }[]
}

/** What a gateway is meant to be there; without one, every way out is of interest and none is needed. */
export interface Intent {
  readonly mode: EgressConfig['mode'] | undefined
  readonly driver: DataPlaneConfig['driver']
  /** What the configuration switches off. @defaultValue nothing */
  readonly wanted?: Pick<DataPlaneConfig, 'offload' | 'records' | 'streams'> | undefined
  /** @defaultValue 1 */
  readonly workers?: number
}

export interface Finding {
  readonly name: string
  /** `ok`: all of it is there. `less`: something else is used instead. `missing`: the gateway can't start like this. */
  readonly state: 'ok' | 'less' | 'missing'
  readonly text: string
}

/** What a host offers a gateway, and what is used where it offers less: one finding a line. */
export function findingsOf(facts: HostFacts, { mode, driver, workers = 1, wanted }: Intent): Finding[] {
  const { ffi, tun, datagrams, records, streams, checksums, nft, ports } = facts
  const needsTun = mode === 'translate' || mode === 'kernel'
  const findings: Finding[] = []
  const add = (name: string, obstacle: string | undefined, isNeeded: boolean, good: string, instead: string) => {
    if (obstacle === undefined) findings.push({ name, state: 'ok', text: good })
    else if (isNeeded) findings.push({ name, state: 'missing', text: obstacle })
    else findings.push({ name, state: 'less', text: `${obstacle}; ${instead}` })
  }

  add('FFI', ffi, needsTun, 'koffi loads', 'everything portable is used')
  const tunMissing = tun.refusal === undefined ? undefined : (tun.advice ?? tun.refusal)
  add('TUN', tunMissing, needsTun, 'interfaces can be made', 'egress.mode sockets needs none')
  if (tunMissing === undefined) {
    add(
      'TUN offload',
      tun.datagramSegmentation ? undefined : 'the kernel hands out no super-packets of UDP',
      false,
      'super-packets of TCP and UDP both ways',
      tun.segmentation
        ? 'those of TCP are used'
        : tun.superPacketWrites
          ? 'packets are read one by one'
          : 'packets go one by one',
    )
  }
  add('nftables', nft, needsTun, 'nft is there', 'egress.mode sockets needs none')
  add(
    'UDP batches',
    datagrams.native ? undefined : (datagrams.reason ?? 'none'),
    false,
    'recvmmsg and sendmmsg',
    'node:dgram is used',
  )
  if (datagrams.native) {
    const offload = datagrams.gso && datagrams.gro ? undefined : (datagrams.reason ?? 'GSO or GRO is missing')
    add('UDP offload', offload, false, 'GSO and GRO', 'datagrams go one by one where it is missing')
  }
  const recordsLess = records.kind === 'tls-mode' ? undefined : (records.reason ?? records.kind)
  add('DTLS records', recordsLess, false, "libcrypto's record mode", `${instead[records.kind]} is used`)
  const streamsLess = streams.kind === 'evp' ? undefined : (streams.reason ?? streams.kind)
  add('TLS records', streamsLess, false, 'libcrypto', 'node:crypto is used')
  add('checksums', checksums, false, 'WebAssembly', 'JavaScript is used')
  for (const { name, obstacle } of ports) add(name, obstacle, true, 'free', '')
  if (wanted) findings.push(...switchedOff(wanted))
  findings.push(driverFinding(facts, mode, driver, workers))
  return findings
}

/** What a configuration forgoes on purpose. */
function switchedOff({ offload, records, streams }: NonNullable<Intent['wanted']>): Finding[] {
  const off = [
    ...(offload.tun === 'all' ? [] : [`offload.tun ${offload.tun}`]),
    ...(offload.gso ? [] : ['offload.gso false']),
    ...(offload.gro ? [] : ['offload.gro false']),
    ...(records === 'auto' ? [] : [`records ${records}`]),
    ...(streams === 'own' ? [] : [`streams ${streams}`]),
  ]
  return off.length === 0 ? [] : [{ name: 'switched off', state: 'less', text: `dataPlane: ${off.join(', ')}` }]
}

const instead = { 'tls-mode': '', evp: "libcrypto's ordinary calls", node: 'node:crypto' } as const

function driverFinding(
  { ffi, datagrams, tun }: HostFacts,
  mode: Intent['mode'],
  driver: Intent['driver'],
  workers: number,
): Finding {
  const name = 'data plane'
  const obstacle =
    mode === undefined || mode === 'sockets'
      ? 'with egress.mode sockets it lives on the event loop'
      : (ffi ?? (datagrams.native ? undefined : datagrams.reason))
  if (driver === 'worker' && obstacle !== undefined && mode !== undefined) {
    return { name, state: 'missing', text: `dataPlane.driver worker: ${obstacle}` }
  }
  if (workers > 1 && obstacle === undefined) {
    return tun.multiQueue
      ? { name, state: 'ok', text: `driver worker, ${workers} threads of its own` }
      : { name, state: 'missing', text: `dataPlane.workers ${workers}: the kernel has no TUN with several queues` }
  }
  if (driver === 'loop' || driver === 'portable') return { name, state: 'ok', text: `driver ${driver}, as configured` }
  if (obstacle === undefined) return { name, state: 'ok', text: 'driver worker, a thread of its own' }
  return { name, state: mode === undefined || mode === 'sockets' ? 'ok' : 'less', text: `driver loop: ${obstacle}` }
}

/** A line for people: what it is about, how it stands, what it means. */
export function findingLine({ name, state, text }: Finding): string {
  return `${state.padEnd(8)}${name.padEnd(14)}${text}`
}
