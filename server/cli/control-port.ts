/** Where the interface is, unless that is taken or another one is chosen. */
export const DEFAULT_CONTROL_PORT = 8010;
