"""Does what short trainings rank first carry over to the network that ships?"""
