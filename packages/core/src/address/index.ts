// Addresses, prefixes, routes, and the pool they are leased from.
export { type Family, IpAddress } from './ip-address.ts'
export { Prefix } from './prefix.ts'
