from provider_sandbox.app import main

main()
