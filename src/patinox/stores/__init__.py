"""Where whole streams are kept: the contract, and the engines that fulfil it."""
