// The reference gateway and client, in reading order.

// Authentication
export type {
  AuthenticationResult,
  Authenticator,
  Identity,
  IdentityToken,
  RejectReason,
  UnavailableReason,
  UserRate,
} from './auth/authenticator.ts'
export { ConfiguredAuthenticator, type ConfiguredAuthenticatorOptions } from './auth/io/configured-authenticator.ts'
export { hashPassword, PasswordHasher, type PasswordHasherOptions } from './auth/io/password-hasher.ts'
export {
  addUser,
  type NewUser,
  readUsersFile,
  removeUser,
  setPassword,
  type UsersFileOptions,
} from './auth/io/users-file.ts'
export { certificateField, loginMethods } from './auth/login-options.ts'
export { defaultScryptCosts, type PasswordRecord, type ScryptCosts } from './auth/password-record.ts'
export type { User, UsersTable } from './auth/users.ts'
export type {
  ClientInterface,
  ClientInterfaceFactory,
  ConnectOptions,
  DatagramSocketFactory,
  TunnelClientEvents,
} from './client/client-options.ts'
// The client
export { deviceInterface } from './client/device-interface.ts'
export { connect } from './client/io/connect.ts'
export { type StackInterfaceOptions, stackInterface } from './client/io/stack-interface.ts'
export { type SystemInterfaceOptions, systemInterface } from './client/io/system-interface.ts'
export { TunnelClient } from './client/io/tunnel-client.ts'
export type { DialOptions } from './client/network/io/dial.ts'
export type { ResolvedAddress } from './client/network/io/resolver.ts'
export type { TunnelAgents } from './client/network/io/tunnel-agents.ts'
export type { TunnelRequestInit, TunnelTlsOptions } from './client/network/io/tunnel-fetch.ts'
export type {
  CreateUdpSocketOptions,
  LookupOptions,
  NetworkParameters,
  TunnelNetwork,
} from './client/network/io/tunnel-network.ts'
// Configuration
export { type ConfigPath, type ConfigProblem, type ConfigSource, formatProblem } from './config/config-problem.ts'
export { variableName } from './config/environment.ts'
export type {
  AuthConfig,
  DatagramConfig,
  DataPlaneConfig,
  DnsConfig,
  EgressConfig,
  GatewayConfig,
  ListenConfig,
  LogConfig,
  OffloadConfig,
  PemSource,
  PoolConfig,
  RoutesConfig,
  SessionConfig,
  TlsConfig,
} from './config/gateway-config.ts'
export type {
  AuthOptions,
  DatagramOptions,
  DataPlaneOptions,
  DnsOptions,
  EgressOptions,
  GatewayOptions,
  LogOptions,
  OffloadOptions,
  PoolOptions,
  RoutesOptions,
  SessionOptions,
  TlsOptions,
} from './config/gateway-options.ts'
export { checkConfigFiles } from './config/io/check-config-files.ts'
export { type LoadedConfig, loadConfigFile, loadGatewayOptions } from './config/io/load-config.ts'
export { gatewayJsonSchema, type JsonSchema } from './config/json-schema.ts'
export type { FileSections } from './config/resolve-options.ts'
// The gateway
export { createGateway } from './control-plane/io/create-gateway.ts'
export { Gateway, type GatewayHands, type GatewayStats } from './control-plane/io/gateway.ts'
export type { GatewayEvents, SessionFacts } from './control-plane/session-facts.ts'
export type { RoamingStats } from './data-plane/mesh/roaming-clients.ts'
export type { StreamRecordStats } from './data-plane/stream/io/stream-opener.ts'
export type { TunnelOutlets } from './data-plane/tunnel-side.ts'
export { type DeviceEgressOptions, deviceEgress } from './egress/device-egress.ts'
export type { DeviceHandover, Egress, Translation } from './egress/egress.ts'
export type { DnsForwarderStats } from './egress/sockets/dns-forwarder.ts'
export type { SocketsEgressStats } from './egress/sockets/io/sockets-egress.ts'
export { GatewayError, type GatewayErrorCode } from './errors.ts'
export type { RunnableGateway, RunnableTunnel } from './gateway.ts'

// Identity
export {
  type DevelopmentIdentity,
  type DevelopmentIdentityOptions,
  ensureDevelopmentClient,
  ensureDevelopmentIdentity,
} from './identity/io/development-identity.ts'
export { IdentityError, loadServerIdentity, type ServerIdentity } from './identity/io/server-identity.ts'
export { isSpkiPin, spkiPin } from './identity/io/spki-pin.ts'
export type { ReplaceFileOptions } from './io/replace-file.ts'
// Logs
export { createLogger, type LogTarget } from './log/io/create-logger.ts'
export { type LogFields, type Logger, type LogLevel, silentLogger } from './log/logger.ts'
export { createSessionLog, type SessionLabel, type SessionLog } from './log/session-log.ts'
