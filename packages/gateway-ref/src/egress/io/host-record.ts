import { readSaved } from '../nft-rules.ts'
import type { Saved } from './kernel-settings.ts'

/** What a running gateway has changed on its host, kept in the table of its rules so that it survives a crash. */
export interface HostRecord {
  readonly device: string
  readonly settings: Saved
  readonly proxies: readonly { readonly device: string; readonly address: string }[]
}

/** As text without quotes or blanks, for the comments of a table. */
export function encodeRecord(record: HostRecord): string {
  return Buffer.from(JSON.stringify(record)).toString('base64url')
}

/** Reads the record from the listing of a table; `undefined` if there is none or it is broken. */
export function decodeRecord(listing: string): HostRecord | undefined {
  try {
    const value = JSON.parse(Buffer.from(readSaved(listing) ?? '', 'base64url').toString()) as Partial<HostRecord>
    if (typeof value.device !== 'string' || typeof value.settings !== 'object' || !Array.isArray(value.proxies)) {
      return undefined
    }
    return { device: value.device, settings: value.settings, proxies: value.proxies }
  } catch {
    return undefined
  }
}
