/*
 * To be imported before the SDK, whose libraries use what Node.js gives up some day. That is not what its tests are to tell.
 */
process.noDeprecation = true;

export {};
