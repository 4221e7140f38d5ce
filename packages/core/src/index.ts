// The protocol surface of core, in reading order. Runtime, packets, addresses, the test kit and the hands have subpaths of their own.

// Login
export {
  type CertificateIdentityField,
  type CredentialsAnswer,
  type CredentialsCheck,
  certificateUsername,
  isUsername,
  type LoginIdentity,
  type LoginMethod,
  type PeerCertificate,
} from './protocol/credentials.ts'
export { CoreError, type CoreErrorCode } from './protocol/errors.ts'
export {
  defaultGatewayLoginOptions,
  type GatewayLoginOptions,
  type LoginGroup,
} from './protocol/gateway-login-options.ts'
export {
  type HeaderLines,
  type HttpReply,
  type HttpRequest,
  headerValue,
  headerValues,
} from './protocol/http-message.ts'
export type { LoginField, LoginForm, LoginOption } from './protocol/login-form.ts'
// Sessions
export {
  type ConnectedSession,
  defaultSessionRegistryLimits,
  type OpenedSession,
  type RefusedSession,
  type SessionEndReason,
  type SessionRecord,
  SessionRegistry,
  type SessionRegistryLimits,
  type SessionRegistryOptions,
  type SessionRegistryOutput,
} from './protocol/session-registry.ts'
export type { ChannelTimers, DatagramOffer, RekeyMethod, TunnelParameters } from './protocol/tunnel-parameters.ts'
// Negotiation
export type { DeviceClaims, TunnelRequest } from './protocol/tunnel-request.ts'
