// The hands of dtls: primitives of node:crypto, and shells over datagram sockets.
export type { DatagramPort, RemoteEndpoint } from './datagram-port.ts'
export { type ConnectOptions, connect } from './dtls-client.ts'
export { createServer, type DtlsServerEvents, DtlsServerShell, type ServerShellOptions } from './dtls-server.ts'
export type { DtlsSocket, DtlsSocketEvents } from './dtls-socket.ts'
export { type Libcrypto, loadLibcrypto } from './libcrypto.ts'
export type { LibcryptoMode } from './libcrypto-records.ts'
export { nodeCrypto, nodeRandom } from './node-crypto.ts'
export { type RecordProtectionSupport, recordContexts, recordProtectionSupport, systemCrypto } from './system-crypto.ts'
