// The little of DNS that a stub resolver needs (RFC 1035 §4, RFC 3596, RFC 6891): one question out, its addresses back.
import { IpAddress } from '@twinbore/core/address'

/** Types of records that carry addresses. */
export const AddressRecord = { A: 1, AAAA: 28 } as const
export type AddressRecord = (typeof AddressRecord)[keyof typeof AddressRecord]

/** Response codes (RFC 1035 §4.1.1). */
export const DnsStatus = { ok: 0, formatError: 1, serverFailure: 2, nameError: 3 } as const

/** What an answer says, as far as a stub resolver cares. */
export interface DnsAnswer {
  readonly status: number
  /** Not all of it fitted the datagram: ask by TCP. */
  readonly isTruncated: boolean
  readonly addresses: readonly IpAddress[]
  /** Seconds that all of it may be kept; 0 when there is no address. */
  readonly ttlSeconds: number
}

/** What our datagrams may be long (RFC 6891 §6.2.5): it passes every tunnel whole (dnsflagday.net/2020). */
export const DNS_DATAGRAM_BYTES = 1232

const headerBytes = 12
const recordType = { cname: 5, opt: 41 } as const
const internet = 1
const maxAnswers = 256
const maxAliases = 16

/**
 * A question. `name` is ASCII, labels with dots between.
 *
 * @returns `undefined` when the name can't be asked: a label is empty or longer than 63 bytes, or all of it than 253
 */
export function encodeQuestion(
  id: number,
  name: string,
  type: AddressRecord,
  hasEdns: boolean,
): Uint8Array | undefined {
  const labels = name.replace(/\.$/, '').split('.')
  const bytes = new Uint8Array(headerBytes + name.length + 2 + 4 + 11)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, id)
  view.setUint16(2, 0x0100)
  view.setUint16(4, 1)
  view.setUint16(10, hasEdns ? 1 : 0)
  let at = headerBytes
  for (const label of labels) {
    if (label.length === 0 || label.length > 63 || !/^[\x21-\x7e]+$/.test(label)) return undefined
    bytes[at++] = label.length
    for (let i = 0; i < label.length; i++) bytes[at++] = label.charCodeAt(i)
  }
  at++
  if (at - headerBytes > 255) return undefined
  view.setUint16(at, type)
  view.setUint16(at + 2, internet)
  at += 4
  if (!hasEdns) return bytes.subarray(0, at)
  view.setUint16(at + 1, recordType.opt)
  view.setUint16(at + 3, DNS_DATAGRAM_BYTES)
  return bytes.subarray(0, at + 11)
}

/**
 * Reads the answer to a question. Only records of the name asked for, or of an alias that leads from it, count.
 *
 * @returns `undefined` when it is none: not well formed, not an answer, or to another question
 */
export function decodeAnswer(bytes: Uint8Array, id: number, name: string, type: AddressRecord): DnsAnswer | undefined {
  if (bytes.length < headerBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = view.getUint16(2)
  if (view.getUint16(0) !== id || (flags & 0xf800) !== 0x8000) return undefined
  const status = flags & 0x000f
  const isTruncated = (flags & 0x0200) !== 0
  const questions = view.getUint16(4)
  // A server that doesn't understand a question may leave it out (RFC 1035 §4.1.1); nothing else may.
  if (questions === 0 && status === DnsStatus.formatError) return { status, isTruncated, addresses: [], ttlSeconds: 0 }
  const asked = questions === 1 ? readName(bytes, headerBytes) : undefined
  const wanted = name.replace(/\.$/, '').toLowerCase()
  if (!asked || asked.text !== wanted || asked.end + 4 > bytes.length) return undefined
  if (view.getUint16(asked.end) !== type || view.getUint16(asked.end + 2) !== internet) return undefined
  // What a truncated answer has is asked for again.
  if (isTruncated) return { status, isTruncated, addresses: [], ttlSeconds: 0 }
  const records = readRecords(bytes, view, asked.end + 4, view.getUint16(6))
  return records && { status, isTruncated, ...addressesOf(records, wanted, type) }
}

interface DnsRecord {
  readonly name: string
  readonly type: number
  readonly ttl: number
  readonly address: Uint8Array | undefined
  readonly target: string | undefined
}

function readRecords(bytes: Uint8Array, view: DataView, first: number, count: number): DnsRecord[] | undefined {
  if (count > maxAnswers) return undefined
  const records: DnsRecord[] = []
  let at = first
  for (let i = 0; i < count; i++) {
    const name = readName(bytes, at)
    if (!name || name.end + 10 > bytes.length) return undefined
    const type = view.getUint16(name.end)
    const ttl = view.getUint32(name.end + 4)
    const data = name.end + 10
    const end = data + view.getUint16(name.end + 8)
    if (end > bytes.length) return undefined
    at = end
    if (view.getUint16(name.end + 2) !== internet) continue
    const length = type === AddressRecord.A ? 4 : type === AddressRecord.AAAA ? 16 : 0
    if (length !== 0 && end - data !== length) return undefined
    const target = type === recordType.cname ? readName(bytes, data) : undefined
    if (type === recordType.cname && target?.end !== end) return undefined
    records.push({
      name: name.text,
      type,
      // A TTL with its highest bit set counts as 0 (RFC 2181 §8).
      ttl: ttl > 0x7fff_ffff ? 0 : ttl,
      address: length === 0 ? undefined : bytes.slice(data, end),
      target: target?.text,
    })
  }
  return records
}

/** Follows aliases from the name that was asked for, whatever the order of the records. */
function addressesOf(
  records: readonly DnsRecord[],
  asked: string,
  type: AddressRecord,
): Pick<DnsAnswer, 'addresses' | 'ttlSeconds'> {
  let owner = asked
  let ttl = 0x7fff_ffff
  for (let i = 0; i <= maxAliases; i++) {
    const found = records.filter(record => record.name === owner && record.type === type)
    if (found.length > 0) {
      const ttlSeconds = found.reduce((least, record) => Math.min(least, record.ttl), ttl)
      return { addresses: found.map(({ address }) => IpAddress.fromBytes(address!)), ttlSeconds }
    }
    const alias = records.find(record => record.name === owner && record.target !== undefined)
    if (!alias) break
    ttl = Math.min(ttl, alias.ttl)
    owner = alias.target!
  }
  return { addresses: [], ttlSeconds: 0 }
}

/** Reads a name, compressed or not (RFC 1035 §4.1.4), in lower case. A pointer must lead backwards, so that none leads in a circle. */
function readName(bytes: Uint8Array, start: number): { readonly text: string; readonly end: number } | undefined {
  const labels: string[] = []
  let at = start
  let lowest = start
  let end = -1
  let length = 1
  for (;;) {
    const size = bytes[at]
    if (size === undefined) return undefined
    if (size >= 0xc0) {
      const low = bytes[at + 1]
      if (low === undefined) return undefined
      if (end === -1) end = at + 2
      at = ((size & 0x3f) << 8) | low
      if (at >= lowest || at < headerBytes) return undefined
      lowest = at
      continue
    }
    if (size > 63) return undefined
    at++
    if (size === 0) return { text: labels.join('.'), end: end === -1 ? at : end }
    length += size + 1
    if (length > 255 || at + size > bytes.length) return undefined
    let label = ''
    // A dot inside a label must not look like one between labels.
    for (let i = at; i < at + size; i++) {
      label += bytes[i] === 0x2e ? '\\.' : String.fromCharCode(bytes[i]!)
    }
    labels.push(label.toLowerCase())
    at += size
  }
}
